// What both generators say of what they measured: quantiles as a member of a JSON object, and µ-law (G.711) as samples.
#pragma once
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static int compare(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

// Sorts `values`, and writes them divided by `unit`.
static void quantiles(const char *key, int64_t *values, size_t n, int64_t unit) {
    qsort(values, n, 8, compare);
    #define Q(q) (n ? (long)(values[(size_t)((n - 1) * (q))] / unit) : -1L)
    printf("\"%s\":{\"count\":%zu,\"p50\":%ld,\"p90\":%ld,\"p99\":%ld,\"p999\":%ld,\"max\":%ld}", key, n, Q(0.5), Q(0.9),
           Q(0.99), Q(0.999), Q(1.0));
    #undef Q
}

static void ulaw_table(int16_t table[256]) {
    for (int c = 0; c < 256; c++) {
        int u = ~c & 0xFF, v = ((((u & 15) << 3) + 132) << ((u >> 4) & 7)) - 132;
        table[c] = (int16_t)(u & 0x80 ? -v : v);
    }
}
