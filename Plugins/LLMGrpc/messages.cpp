// The messages of llm.proto, which the build makes before it compiles this (`Sources/GrpcMessages/generate`).
// SPDX-License-Identifier: Apache-2.0
#include <llm.pb.cc>
