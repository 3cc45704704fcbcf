// libmicrohttpd, and what Swift needs beside its headers.
#include "microhttpd_shim.h"
