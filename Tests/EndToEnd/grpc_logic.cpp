// What LLMGrpc decides without a server: where an answer stops, and what a conversation is as one text. Compiled and run
// by test_grpc.py, because a test in Swift cannot import C++ without importing its standard library.
#include <cstdio>
#include <string>
#include <vector>

#include "../../Plugins/LLMGrpc/conversation.hpp"
#include "../../Plugins/LLMGrpc/stop_text.hpp"

static int failures = 0;

static void check(const char *sentence, const std::string &got, const std::string &expected) {
    if (got == expected) return;
    failures++;
    std::printf("%s\n  expected: %s\n  got:      %s\n", sentence, expected.c_str(), got.c_str());
}

/// The answer in pieces, "|" after each that was said.
static std::string said(const std::vector<std::string> &stops, const std::vector<std::string> &pieces) {
    StopText stop(stops);
    std::string all;
    for (const std::string &piece : pieces) {
        if (stop.is_reached()) break;
        const std::string now = stop.take(piece);
        if (!now.empty()) all += now + "|";
    }
    return all + stop.rest();
}

static std::string asked(const char *messages, int turns) {
    const auto conversation = read_conversation(messages, turns);
    return conversation ? conversation->system_prompt + "#" + conversation->text : "nothing";
}

int main() {
    check("Without stop texts each piece is said as it comes.", said({}, {"Evet", ", ", "efendim."}), "Evet|, |efendim.|");
    check("A stop text that comes in three pieces is not said.", said({"\n\nUser:"}, {"Evet.\n", "\nUs", "er: ve"}), "Evet.|");
    check("What only began like one is said.", said({"\n\nUser:"}, {"Evet.\n", "\nUs", "ually"}), "Evet.|\n\nUsually|");
    check("What was kept back is said at the end.", said({"User:"}, {"Evet U", "s"}), "Evet |Us");
    // U+0131 and U+0130 share their first byte with many letters.
    check("No piece ends within a letter.", said({"ış"}, {"sı", "cak ı", "ş"}), "s|ıcak |");
    check("The first of two stop texts counts.", said({"b", "a"}, {"xxabxx"}), "xx|");

    const char *talk = R"([{"role":"system","content":"Kısa."},{"role":"assistant","content":"Merhaba."},
        {"role":"user","content":"Bir?"},{"role":"assistant","content":"İki."},{"role":"user","content":"Üç?"}])";
    check("The last question alone.", asked(talk, 0), "Kısa.#Üç?");
    check("One turn before it.", asked(talk, 1), "Kısa.#Bir?\n\nAssistant: İki.\n\nUser: Üç?");
    check("The greeting belongs to the first turn.", asked(talk, 9),
          "Kısa.#Assistant: Merhaba.\n\nUser: Bir?\n\nAssistant: İki.\n\nUser: Üç?");
    check("Two messages of one side are one.", asked(R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])", 4), "#a b");
    check("Nobody asks.", asked(R"([{"role":"assistant","content":"a"}])", 4), "nothing");
    check("No JSON.", asked("[", 4), "nothing");
    std::printf("%d failed\n", failures);
    return failures != 0;
}
