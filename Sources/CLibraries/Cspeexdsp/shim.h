// speexdsp, for its resampler.
#include <speex/speex_resampler.h>
