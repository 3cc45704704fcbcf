// The messages of google_tts.proto, which the build makes before it compiles this (`Sources/GrpcMessages/generate`).
// SPDX-License-Identifier: Apache-2.0
#include <google_tts.pb.cc>
