// sofia-sip, for the C of Plugins/TelephonySIP: SIP without media.
#include <sofia-sip/nua.h>
