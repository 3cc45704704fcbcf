/// @file The whole contract between vchost and its plugins.
// SPDX-License-Identifier: Apache-2.0
// Including this header puts no condition on a plugin: its licence is its author's choice.
#ifndef VCHOST_H
#define VCHOST_H

/*  Where to begin:

      - a provider author: plugin.h, session.h, then the header of the kind; Plugins/ExampleTTS is a whole one;
      - everything that may be asked of the host: service/;
      - the rules that hold everywhere, growth and threads: abi.h.

    The headers are the specification. What they do not promise may change without notice.  */

#include "abi.h"
#include "audio.h"
#include "event.h"
#include "host.h"
#include "plugin.h"
#include "session.h"

#include "kind/llm.h"
#include "kind/stt.h"
#include "kind/telephony.h"
#include "kind/tts.h"
#include "kind/turn.h"
#include "kind/vad.h"

#include "service/clock.h"
#include "service/config.h"
#include "service/http.h"
#include "service/log.h"
#include "service/media.h"
#include "service/metrics.h"
#include "service/secret.h"
#include "service/server.h"
#include "service/task.h"
#include "service/timer.h"
#include "service/trace.h"
#include "service/ws.h"

#endif
