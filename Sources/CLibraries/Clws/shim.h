// libwebsockets, and what Swift needs beside its headers.
#include "lws_shim.h"
