/// What Twilio says and hears, as plain functions on plain buffers: no host, no socket, no clock, no memory of their
/// own.
// SPDX-License-Identifier: Apache-2.0
#ifndef TWILIO_WIRE_H
#define TWILIO_WIRE_H

/*  A call brings fifty messages a second. So nothing here allocates: texts are slices of the message that was read,
    and what is written goes into the caller's buffer. Everything that comes from the network is checked here, which
    is why it is a module of its own: tests feed it garbage without a host around it.  */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// A slice of somebody else's text.
typedef struct tw_text {
    const char *at;
    size_t length;
} tw_text;

bool tw_text_is(tw_text text, const char *literal);

/// A decimal number of at most 19 digits, or `otherwise`.
uint64_t tw_text_number(tw_text text, uint64_t otherwise);

// ---- json.c ----

enum { TW_JSON_DEPTH_MAX = 16 };

typedef enum tw_json_kind { TW_JSON_STRING, TW_JSON_NUMBER, TW_JSON_TRUE, TW_JSON_FALSE, TW_JSON_NULL } tw_json_kind;

/// Told of the members of objects, in the order in which they stand. Elements of arrays are checked and not told.
typedef struct tw_json_visitor {
    /// Gives the number by which the members of the object at `key` in `parent` are told. The outermost object is 0.
    uint32_t (*enter)(void *context, uint32_t parent, tw_text key);
    /// A string comes without its quotes, its escapes as they stand.
    void (*value)(void *context, uint32_t parent, tw_text key, tw_json_kind kind, tw_text value);
    void *context;
} tw_json_visitor;

/// Reads one object (RFC 8259) and nothing behind it. False: it is none, or nested deeper than TW_JSON_DEPTH_MAX.
bool tw_json_read(const char *text, size_t length, const tw_json_visitor *visitor);

/// Decodes the escapes of a string into `out`, with a NUL. False: it does not fit, or has a NUL or half a surrogate
/// pair.
bool tw_json_unescape(tw_text string, char *out, size_t room);

// ---- base64.c (RFC 4648, 4) ----

/// The bytes, or -1: not base64 of whole groups, or more than `room`. An escaped slash, `\/`, is read as a slash.
int32_t tw_base64_decode(tw_text text, uint8_t *out, size_t room);

/// Writes `4 * ceil(count / 3)` characters, without a NUL, and returns how many.
size_t tw_base64_encode(const uint8_t *bytes, size_t count, char *out);

// ---- mulaw.c (ITU-T G.711) ----

int16_t tw_mulaw_decode(uint8_t code);
uint8_t tw_mulaw_encode(int16_t sample);

// ---- stream_message.c: the messages of Media Streams ----

typedef enum tw_event {
    TW_EVENT_UNKNOWN, ///< Of a later version: to be ignored.
    TW_EVENT_CONNECTED,
    TW_EVENT_START,
    TW_EVENT_MEDIA,
    TW_EVENT_MARK,
    TW_EVENT_DTMF,
    TW_EVENT_STOP,
} tw_event;

typedef struct tw_message {
    tw_event event;
    tw_text stream_sid, account_sid, call_sid;
    tw_text token;    ///< Of the custom parameters of `start`.
    tw_text encoding; ///< Of `start`.
    tw_text track;    ///< Of `media` and `dtmf`.
    tw_text payload;  ///< Of `media`: base64.
    tw_text name;     ///< Of `mark`.
    tw_text digit;    ///< Of `dtmf`.
    tw_text protocol; ///< Of `connected`.
    uint64_t sequence, chunk, timestamp_ms; ///< 0 where there is none.
    uint32_t rate_hz, channels;             ///< Of `start`.
} tw_message;

/// False: not a JSON object with a member `event`.
bool tw_message_read(const char *text, size_t length, tw_message *message);

/// Room for a message with 200 ms of audio and the longest stream id.
enum { TW_MESSAGE_ROOM = 2400, TW_SID_MAX = 64, TW_MEDIA_BYTES_MAX = 1600 };

/// Each returns the length, or 0 when the arguments are longer than the room is made for.
size_t tw_write_media(char *out, tw_text stream_sid, const uint8_t *mulaw, size_t count);
size_t tw_write_mark(char *out, tw_text stream_sid, const char *name);
size_t tw_write_clear(char *out, tw_text stream_sid);

// ---- form.c: application/x-www-form-urlencoded ----

enum { TW_FORM_MAX = 128 };

typedef struct tw_field {
    tw_text name, value;
} tw_field;

/// Decodes a form where it stands. Returns how many fields it has, or -1: more than `max`, or a percent sign that is
/// not
/// followed by two digits.
int tw_form_read(char *form, size_t length, tw_field *fields, int max);

/// The value of the first field of that name; empty without one.
tw_text tw_form_value(const tw_field *fields, int count, const char *name);

/// Appends `name=value` to a form that is NUL-terminated. False: it does not fit, and nothing is written.
bool tw_form_append(char *form, size_t room, const char *name, tw_text value);

// ---- signature.c ----

typedef enum tw_algorithm { TW_HMAC_SHA1, TW_HMAC_SHA256, TW_HMAC_UNKNOWN } tw_algorithm;

/// A header `X-Twilio-Webhooks-Signature-Settings`. Without one, or without an algorithm in it: SHA-1 and no key id.
typedef struct tw_signature_settings {
    tw_algorithm algorithm;
    tw_text key_id;
} tw_signature_settings;
tw_signature_settings tw_signature_settings_read(tw_text header);

/// Where we are on the Internet, by configuration: never by what a request says of it.
typedef struct tw_origin {
    bool is_secure;
    char host[256]; ///< As it was written, without userinfo and port.
    uint32_t port;  ///< 0: none was written.
    char prefix[256]; ///< A path before every path, without a slash at its end.
} tw_origin;

/// False: not http or https, no host, or a query.
bool tw_origin_read(tw_text url, tw_origin *origin);

/// Writes the URL of a path: `websocket` has ws and wss. `with_port` 0 leaves the port as it was configured, 1 leaves
/// it
/// out, 2 writes it, 443 or 80 where none was. Returns the length, or 0 when it does not fit.
size_t tw_origin_url(const tw_origin *origin, bool websocket, int with_port, tw_text path, tw_text query, char *out,
                     size_t room);

enum { TW_SIGNED_TEXT_MAX = 72 << 10 }; ///< A listener takes 64 KiB of body and 32 KiB of head, of which this is ample.

/// What is signed: the URL, then every distinct name and value in the order of their bytes. It sorts `fields`. Returns
/// the length, or 0 when it does not fit.
size_t tw_signed_text(const char *url, size_t url_length, tw_field *fields, int count, char *out, size_t room);

enum { TW_SIGNATURE_MAX = 48 };

/// Base64 of the HMAC, NUL-terminated. False: libcrypto refused.
bool tw_sign(tw_algorithm algorithm, tw_text key, const char *text, size_t length, char out[TW_SIGNATURE_MAX]);

/// Whether `signature` is that of the request under `key`. `fields` are those of a posted form, and are sorted;
/// `scratch`
/// has TW_SIGNED_TEXT_MAX bytes. A WebSocket is tried with and without a slash at its end, everything with and without
/// its port. The comparison takes the same time wherever it fails.
bool tw_signature_is_good(const tw_origin *origin, bool websocket, tw_text path, tw_text query,
                          tw_field *fields, int count, tw_algorithm algorithm, tw_text key,
                          tw_text signature, char *scratch);

/// Equal, in a time that depends on the lengths alone.
bool tw_texts_match(tw_text one, tw_text other);

// ---- twiml.c ----

enum { TW_TWIML_MAX = 4000 }; ///< The limit of the parameter `Twiml` of the REST API.

/// Each returns the length, or 0 when it does not fit into TW_TWIML_MAX bytes. Texts are escaped.
size_t tw_twiml_connect(char *out, const char *stream_url, const char *token, const char *status_url);
size_t tw_twiml_reject(char *out, bool busy);
size_t tw_twiml_hangup(char *out);

/// Sends the caller on: a number, `sip:...` or `client:...`.
size_t tw_twiml_dial(char *out, tw_text target, const char *caller_id, uint32_t timeout_s);

// ---- call_status.c ----

typedef enum tw_call_status {
    TW_CALL_UNKNOWN,
    TW_CALL_QUEUED,
    TW_CALL_RINGING,
    TW_CALL_IN_PROGRESS,
    TW_CALL_COMPLETED,
    TW_CALL_BUSY,
    TW_CALL_NO_ANSWER,
    TW_CALL_CANCELED,
    TW_CALL_FAILED,
} tw_call_status;
tw_call_status tw_call_status_read(tw_text text);

/// An answer of the REST API: a call, or an error.
typedef struct tw_rest_answer {
    char sid[TW_SID_MAX];
    char message[200];
    uint32_t code; ///< Twilio's error, or 0.
} tw_rest_answer;
bool tw_rest_answer_read(const char *text, size_t length, tw_rest_answer *answer);

/// "CA" and 32 digits of base 16, or another prefix.
bool tw_is_sid(tw_text text, const char *prefix);

#endif
