#include <sofia-sip/nua.h>
