/*  What is and is not thread-safe in flite 2.2, read from its sources:

      - registering the voice and initialising its lexicon fill globals: done once, under the lock;
      - a synthesis makes an utterance of its own, yet links the voice's features into it, and those count references
        without atomics; the speed is a feature of the voice too. So one synthesis at a time, in the whole process;
      - an internal error ends the process by exit(), unless the global `cst_errjmp` says where to jump instead. It is
        set under the same lock. What the broken-off utterance had allocated is lost; it takes a damaged voice to get
        there.

    A lock is no loss: a clause takes a few milliseconds, and a host falls back on this voice for few calls at once. Two
    copies of the voice (refused) would still share the lexicon.

    The voice puts a pause of 200 ms in front of every clause. All but a little of it is cut, by the length that the
    utterance itself gives for it (its noise is as loud as a soft consonant): this voice speaks where something else has
    been late already.  */
// SPDX-License-Identifier: Apache-2.0
#include "flite_voice.h"

#include <flite/flite.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>

cst_voice *register_cmu_us_kal(const char *folder);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static cst_voice *voice;

/// The voice's own stretch of the durations, which is its normal speed.
static const float NORMAL_STRETCH = 1.1f;
enum { LEAD_SAMPLES = 160 }; ///< 20 ms of the pause stay in front of a clause.

/// With the lock held.
static int prepare_locked(void) {
    if (!voice) {
        flite_init();
        voice = register_cmu_us_kal(NULL);
    }
    return voice != NULL;
}

int flite_voice_prepare(void) {
    pthread_mutex_lock(&lock);
    const int is_ready = prepare_locked();
    pthread_mutex_unlock(&lock);
    return is_ready;
}

/// How much of the beginning is the pause that the voice puts in front of everything.
static int64_t lead_of(cst_utterance *utterance) {
    const cst_item *first = relation_head(utt_relation(utterance, "Segment"));
    if (!first || strcmp(item_feat_string(first, "name"), "pau") != 0) return 0;
    const int64_t samples = (int64_t)(item_feat_float(first, "end") * FLITE_RATE_HZ) - LEAD_SAMPLES;
    return samples > 0 ? samples : 0;
}

/// With the lock held.
static int64_t speak_locked(const char *text, double speed, int16_t **samples) {
    if (!prepare_locked()) return -1;
    flite_feat_set_float(voice->features, "duration_stretch", NORMAL_STRETCH / (float)speed);
    cst_utterance *utterance = flite_synth_text(text, voice);
    if (!utterance) return -1;
    const cst_wave *wave = utt_wave(utterance);
    int64_t count = -1;
    if (wave && wave->sample_rate == FLITE_RATE_HZ) {
        const int64_t lead = lead_of(utterance);
        count = lead < wave->num_samples ? wave->num_samples - lead : 0;
        if (count > 0 && !(*samples = malloc((size_t)count * sizeof **samples))) count = -1;
        if (count > 0) memcpy(*samples, wave->samples + lead, (size_t)count * sizeof **samples);
    }
    delete_utterance(utterance);
    return count;
}

int64_t flite_voice_speak(const char *text, double speed, int16_t **samples) {
    jmp_buf gave_up;
    volatile int64_t count = -1;
    *samples = NULL;
    pthread_mutex_lock(&lock);
    cst_errjmp = &gave_up;
    if (setjmp(gave_up) == 0) count = speak_locked(text, speed, samples);
    cst_errjmp = NULL;
    pthread_mutex_unlock(&lock);
    return count;
}
