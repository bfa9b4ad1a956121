/* SPDX-License-Identifier: MIT */
#include "fork.h"

#include <pthread.h>

#include "engine.h"

static pthread_mutex_t list_lock = PTHREAD_MUTEX_INITIALIZER;
static struct sa_engine *engines;
static bool handlers_installed;

/* All locks are held across fork(), so that the child gets every queue and list in one piece. */
static void before_fork(void) {
    sa_machine_lock();
    pthread_mutex_lock(&list_lock);
    for (struct sa_engine *e = engines; e; e = e->next) {
        pthread_mutex_lock(&e->calls_lock);
        pthread_mutex_lock(&e->team.lock);
    }
}

static void release_all(void) {
    for (struct sa_engine *e = engines; e; e = e->next) {
        pthread_mutex_unlock(&e->team.lock);
        pthread_mutex_unlock(&e->calls_lock);
    }
    pthread_mutex_unlock(&list_lock);
    sa_machine_unlock();
}

static void after_fork_in_child(void) {
    for (struct sa_engine *e = engines; e; e = e->next) {
        sa_team_restart_in_child(&e->team);
        sa_calls_restart_in_child(e);
    }
    release_all();
}

/* As the library is loaded: in the child of a fork() while they are installed by pthread_once() they would be so twice,
 * and the next fork() would wait for itself. */
__attribute__((constructor)) static void install_handlers(void) {
    handlers_installed = pthread_atfork(before_fork, release_all, after_fork_in_child) == 0;
}

bool sa_fork_watch(struct sa_engine *engine) {
    if (!handlers_installed)
        return false;
    pthread_mutex_lock(&list_lock);
    engine->next = engines;
    engines = engine;
    pthread_mutex_unlock(&list_lock);
    return true;
}

void sa_fork_unwatch(struct sa_engine *engine) {
    pthread_mutex_lock(&list_lock);
    struct sa_engine **at = &engines;
    while (*at && *at != engine)
        at = &(*at)->next;
    if (*at)
        *at = engine->next;
    pthread_mutex_unlock(&list_lock);
}
