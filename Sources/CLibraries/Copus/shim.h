// libopus, for calls that are not G.711.
#include <opus.h>
