// The program. Everything is in types of its own: a C callback written here would run on this file's actor, and trap on
// any other thread.

import Glibc

exit(VCHost.run(CommandLine.arguments))
