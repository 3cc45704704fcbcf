// LOAD: the library comes into a process and changes nothing there.

let loadRules: [Rule] = [
    Rule(
        "VC-LOAD-01", smoke: true, "The library loads, with every symbol bound.",
        because: "A symbol that is missed only when it is called ends the host in the middle of a call.",
        passing: "cc -shared -Wl,-z,now -Wl,-z,defs acme.c -lacme -o acme.so",
        failing: "cc -shared acme.c -o acme.so        # acme.c calls a function of libacme",
        needs: [],
        check: .probe { bench in try bench.load() })
]
