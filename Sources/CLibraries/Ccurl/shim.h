// libcurl, and what Swift needs beside its headers.
#include "curl_shim.h"
