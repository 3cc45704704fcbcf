"""Functions of the configuration, called by a scripted model over the wire that OpenAI has, and answered by a server of
their own: what the model is offered, what the server is asked, and what the model is told of it."""

import contextlib
import json
import threading
import time
import unittest
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import sound
from host import INSTANT, Host
from phones import Baresip

PARAMETERS = '{"type": "object", "properties": {"number": {"type": "string"}}, "required": ["number"]}'
TOOLS = """
[tool.order_status]
description = Where an order is.
parameters = %s
url = {server}/orders/{{number}}?detail=short
method = GET
headers = Authorization: Bearer ${{secret:ORDERS_KEY}}

[tool.slow]
description = Takes too long.
url = {server}/slow
timeout_ms = 400

[tool.not_for_this_profile]
description = Another profile's.
url = {server}/never
""" % PARAMETERS.replace("{", "{{").replace("}", "}}")


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def reply(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@contextlib.contextmanager
def served(handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def refusal(messages):
    """Why OpenAI would not take these messages, or None: every call has its result right behind the message it is in."""
    waiting = []
    for message in messages:
        if message["role"] == "tool":
            if message["tool_call_id"] not in waiting or not isinstance(message["content"], str):
                return f"a tool message that answers no call: {message}"
            waiting.remove(message["tool_call_id"])
        elif waiting:
            return f"no result for {waiting} before {message}"
        waiting += [call["id"] for call in message.get("tool_calls", [])]
    return f"no result for {waiting}" if waiting else None


def model(script, requests):
    """Answers the n-th question with the n-th step of `script`: text, or calls as (id, name, arguments)."""

    class Model(Quiet):
        def do_POST(self):
            question = json.loads(self.body())
            wrong = refusal(question["messages"])
            if wrong:
                return self.reply(400, "application/json", json.dumps({"error": {"message": wrong, "code": "messages"}}).encode())
            results = sum(message["role"] == "tool" for message in question["messages"])
            # A turn that is asked for once more, because the caller had not finished, is the same step.
            step = script[min(results and 1 + (results > len(script[0][1])), len(script) - 1)]
            requests.append(question)
            text, calls = step
            chunks = [{"delta": {"role": "assistant", "content": ""}}] + [{"delta": {"content": text}}] * bool(text)
            for index, (call, name, arguments) in enumerate(calls):
                head = {"index": index, "id": call, "type": "function", "function": {"name": name, "arguments": ""}}
                chunks.append({"delta": {"tool_calls": [head]}})
                for part in (arguments[:5], arguments[5:]):
                    chunks.append({"delta": {"tool_calls": [{"index": index, "function": {"arguments": part}}]}})
            chunks.append({"delta": {}, "finish_reason": "tool_calls" if calls else "stop"})
            lines = [json.dumps({"id": "c", "choices": [{"index": 0, "finish_reason": None, **chunk}]}) for chunk in chunks]
            self.reply(200, "text/event-stream", "".join(f"data: {line}\n\n" for line in lines + ["[DONE]"]).encode())

    return Model


def tools(asked):
    class Tools(Quiet):
        def do_GET(self):
            asked.append((time.monotonic(), "GET", self.path, dict(self.headers), self.body()))
            self.reply(200, "application/json", b'{"status":"left on Monday"}')

        def do_POST(self):
            asked.append((time.monotonic(), "POST", self.path, dict(self.headers), self.body()))
            time.sleep(1.5)
            # Nobody waits any more.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.reply(200, "application/json", b"{}")

    return Tools


class Tools(unittest.TestCase):
    def call(self, script, profile):
        """One call in which the caller asks once. Returns what the model and the tools were asked, and the host."""
        requests, asked = [], []
        with served(model(script, requests)) as llm, served(tools(asked)) as server:
            template = (INSTANT.replace("plugin = InstantLLM", f"plugin = LLMOpenAI\nurl = {llm}/v1\nmodel = scripted")
                        .replace("plugin = InstantSTT", "plugin = InstantSTT\ntext = Where is my order?"))
            with Host(template=template, profile=profile, telephony=TOOLS.format(server=server),
                      environment={"ORDERS_KEY": "s3cret-of-orders"}) as host:
                with Baresip(sound.joined(sound.silence(0.5), sound.recording_of_a_person("goodbye"))) as phone:
                    phone.dial(host)
                    phone.wait_for("CALL_CLOSED", seconds=15)
                ended = host.wait_for("ended")
                said = host.said()
                events = list(host.events)
        return requests, asked, ended, events, said

    def test_a_function_is_called_once_the_turn_is_certain_and_its_result_is_spoken(self):
        script = [("", [("call_1", "order_status", '{"number":"A 17/3"}')]),
                  ("Your order left on Monday. Goodbye.", [("call_2", "end_call", "{}")]), ("", [])]
        requests, asked, ended, events, said = self.call(
            script, "tools = end_call, transfer_call, tool.order_status\ntransfer_to = sip:desk@127.0.0.1")
        self.assertEqual(ended["end"], "host.agentDone", said)
        self.assertEqual(ended["lines"][-1]["text"], "Your order left on Monday. Goodbye.")

        offered = {tool["function"]["name"]: tool["function"] for tool in requests[0]["tools"]}
        self.assertEqual(set(offered), {"end_call", "transfer_call", "order_status"})
        self.assertEqual(offered["order_status"]["parameters"], json.loads(PARAMETERS))
        self.assertEqual(offered["transfer_call"]["parameters"]["properties"], {}, "a fixed target is no argument")

        (at, method, path, headers, body), = asked
        self.assertEqual((method, path, body), ("GET", "/orders/A%2017%2F3?detail=short", b""))
        self.assertEqual(headers["Authorization"], "Bearer s3cret-of-orders")
        self.assertEqual(headers["VCHost-Call"], ended["call"])
        self.assertNotIn("s3cret", said + json.dumps(events) + json.dumps(requests))
        turn = next(event for event in events if event["event"] == "stage" and event["stage"] == "endOfTurn")
        # The event is read on a thread of its own, some milliseconds after it was sent.
        self.assertGreater(at, turn["receivedAt"] - 0.05)

        result = next(message for message in requests[-1]["messages"] if message.get("tool_call_id") == "call_1")
        self.assertEqual(result["content"], '{"status":"left on Monday"}')
        done = [(event["name"], event["failure"]) for event in events if event["event"] == "tool"]
        self.assertEqual(done, [("order_status", None), ("end_call", None)])

    def test_whatever_keeps_a_function_from_answering_is_told_to_the_model_which_goes_on(self):
        calls = [("a", "slow", "{}"), ("b", "not_for_this_profile", "{}"), ("c", "order_status", "{}"),
                 ("d", "order_status", '{"number":"7"}')]
        script = [("One moment.", calls), ("It left on Monday. Goodbye.", [("e", "end_call", "{}")]), ("", [])]
        requests, asked, ended, events, said = self.call(script, "tools = end_call, tool.order_status, tool.slow")
        self.assertEqual(ended["end"], "host.agentDone", said)
        self.assertEqual(sorted(path for _, _, path, _, _ in asked), ["/orders/7?detail=short", "/slow"])
        results = {message["tool_call_id"]: message["content"] for message in requests[-1]["messages"]
                   if message["role"] == "tool"}
        codes = {call: json.loads(text).get("error", {}).get("code") for call, text in results.items()}
        self.assertEqual(codes, {"a": "timeout", "b": "unknown", "c": "arguments", "d": None, "e": None})
        took = next(event["tookMs"] for event in events if event["event"] == "tool" and event["name"] == "slow")
        print(f"\n  {took} ms until a tool with 400 ms was given up", end=" ")
        self.assertGreaterEqual(took, 400)
        self.assertIn("One moment.", ended["lines"][-1]["text"])


if __name__ == "__main__":
    unittest.main()
