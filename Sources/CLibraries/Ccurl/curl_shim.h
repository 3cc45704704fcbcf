/// @file curl's variadic functions, as functions of one type each: Swift cannot call variadic C.
#ifndef CURL_SHIM_H
#define CURL_SHIM_H

#include <curl/curl.h>

typedef size_t (*vc_curl_data_fn)(char *bytes, size_t size, size_t count, void *context);

static inline CURLcode vc_curl_set_long(CURL *easy, CURLoption option, long value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode vc_curl_set_large(CURL *easy, CURLoption option, curl_off_t value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode vc_curl_set_text(CURL *easy, CURLoption option, const char *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode vc_curl_set_pointer(CURL *easy, CURLoption option, void *value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode vc_curl_set_data_fn(CURL *easy, CURLoption option, vc_curl_data_fn value) {
    return curl_easy_setopt(easy, option, value);
}

static inline CURLcode vc_curl_get_pointer(CURL *easy, CURLINFO info, void **value) {
    return curl_easy_getinfo(easy, info, value);
}

static inline CURLcode vc_curl_get_large(CURL *easy, CURLINFO info, curl_off_t *value) {
    return curl_easy_getinfo(easy, info, value);
}

static inline CURLMcode vc_curl_multi_set_long(CURLM *multi, CURLMoption option, long value) {
    return curl_multi_setopt(multi, option, value);
}

/// The result of a finished transfer: `CURLMsg` keeps it in a union, which Swift sees as raw bytes.
static inline CURLcode vc_curl_result(const CURLMsg *message) { return message->data.result; }

#endif
