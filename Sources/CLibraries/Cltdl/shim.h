// libltdl, the loader of plugins.
#include <ltdl.h>
