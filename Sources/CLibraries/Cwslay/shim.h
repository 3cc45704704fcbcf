// libwslay: the frames of RFC 6455, for WebSockets that come in through the host's listener.
#include <wslay/wslay.h>
