#include "vchost/vchost.h"
