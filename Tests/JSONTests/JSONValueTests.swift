import JSON
import Testing

@Test("A document keeps its integers, its numbers and its text")
func roundTrip() throws {
    let value = try JSONValue(parsing: #"{"a": [1, 2.5, true, null, "ğüş", -0.5e2], "b": {"c": -3}, "d": {}, "e": []}"#)
    #expect(value["a"]?.array == [1, 2.5, true, nil, "ğüş", -50.0])
    #expect(value["b"]?["c"]?.integer == -3)
    #expect(try JSONValue(parsing: value.text) == value)
}

@Test("A broken document is refused with the place where it breaks", arguments: [
    (#"{"a": 1,, "b": 2}"#, "expected a member's name in quotes at line 1, column 9"),
    ("{\n  \"a\": 1\n  \"b\": 2}", "expected ',' or '}' after the value of \"a\" at line 3, column 3"),
    (#"{"a": 1, "a": 2}"#, "\"a\" stands here a second time at line 1, column 10"),
    (#"["#, "the document ends where a value is expected at line 1, column 2"),
    (#"[1] x"#, "text after the end of the document at line 1, column 5"),
    (#"["a"#, "the document ends within a string at line 1, column 4"),
    ("[\"a\u{1}\"]", "a control character in a string; write it as an escape at line 1, column 4"),
    (#"[1e999]"#, "a number that is too large at line 1, column 7"),
    (#"[01]"#, "a number with a leading zero at line 1, column 4"),
    (#"[tru]"#, "expected true at line 1, column 5"),
])
func brokenDocument(text: String, message: String) {
    let error = #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: text) }
    #expect(error?.description == message)
}

@Test("Nesting is bounded, so that a hostile document cannot exhaust the stack")
func depth() {
    #expect(throws: JSONSyntaxError.self) { try JSONValue(parsing: String(repeating: "[", count: 100_000)) }
}

@Test("Escapes of every kind are read and written")
func escapes() throws {
    let value = try JSONValue(parsing: #"["\"\\\/\b\f\n\r\t\u00e7\ud83d\ude00\ud83d"]"#)
    #expect(value == ["\"\\/\u{8}\u{c}\n\r\tç😀\u{fffd}"])
    #expect(try JSONValue(parsing: value.text) == value)
}

@Test("0 and -0 and 10 are numbers")
func zeros() throws {
    #expect(try JSONValue(parsing: "[0, -0, 10, 0.5, -0.5]") == [0, 0, 10, 0.5, -0.5])
}

@Test("true is a boolean and 1 is an integer")
func booleansAreNotNumbers() throws {
    #expect(try JSONValue(parsing: "[true, 1]") == [true, 1])
}
