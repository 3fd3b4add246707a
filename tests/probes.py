"""A program of our own with libvirt's probes, compiled with SystemTap's <sys/sdt.h>."""

from __future__ import annotations

import subprocess
from pathlib import Path

#: What virNetMessage begins with where it matters: the length right behind the pointer to the buffer.
#: OTHER makes it a build in which something stands between them.
PROGRAM = r"""
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEMAPHORE(name) \
    __extension__ volatile unsigned short libvirt_##name##_semaphore \
        __attribute__((unused)) __attribute__((section(".probes")));
SEMAPHORE(rpc_client_msg_tx_queue)
SEMAPHORE(rpc_client_msg_rx)
SEMAPHORE(rpc_client_new)
SEMAPHORE(rpc_socket_new)
SEMAPHORE(rpc_server_client_auth_allow)
SEMAPHORE(rpc_server_client_auth_deny)

struct message {
    char *buffer;
#ifdef OTHER
    size_t other;
#endif
    size_t length;
};

static unsigned word(const char *at) {
    const unsigned char *b = (const unsigned char *) at;
    return (unsigned) b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

#define MESSAGE(name, client, m, h) \
    DTRACE_PROBE8(libvirt, name, client, (m)->length, (long) h[0], (long) h[1], (long) (int) h[2], \
                  (long) (int) h[3], (long) (int) h[5], (long) h[4])

__attribute__((noinline)) static void sent(void *client, struct message *m, unsigned *h) {
    __asm__ volatile ("" ::: "memory");
    MESSAGE(rpc_client_msg_tx_queue, client, m, h);
}

__attribute__((noinline)) static void received(void *client, struct message *m, unsigned *h) {
    __asm__ volatile ("" ::: "memory");
    MESSAGE(rpc_client_msg_rx, client, m, h);
}

__attribute__((noinline)) static void sent_elsewhere(void *client, struct message *m, unsigned *h) {
    __asm__ volatile ("" ::: "memory");
    MESSAGE(rpc_client_msg_tx_queue, client, m, h);
    __asm__ volatile ("");
}

/* Each line of standard input: t, u (the other place) or r, the length, and a message in hex, in which more
   than that may follow. */
int main(void) {
    static char line[1 << 20], bytes[1 << 19];
    void *client = &line, *sock = &bytes;
    DTRACE_PROBE2(libvirt, rpc_client_new, client, sock);
    while (fgets(line, sizeof line, stdin)) {
        char kind;
        size_t length, count = 0;
        int at;
        if (sscanf(line, "%c %zu %n", &kind, &length, &at) < 2) return 1;
        memset(bytes, 0, sizeof bytes);
        for (char *p = line + at; sscanf(p, "%2hhx", &bytes[count]) == 1; p += 2) count++;
        struct message m = { .buffer = bytes, .length = length };
        unsigned h[6];
        for (int i = 0; i < 6; i++) h[i] = word(bytes + 4 + 4 * i);
        if (kind == 't') sent(client, &m, h);
        if (kind == 'u') sent_elsewhere(client, &m, h);
        if (kind == 'r') received(client, &m, h);
        if (kind == 's') DTRACE_PROBE6(libvirt, rpc_socket_new, sock, 7, -1, 0L, "127.0.0.1;5", bytes);
        if (kind == 'a') DTRACE_PROBE3(libvirt, rpc_server_client_auth_allow, client, 1, "somebody");
        if (kind == 'd') DTRACE_PROBE3(libvirt, rpc_server_client_auth_deny, client, 2, (char *) 0);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
"""


def program(folder: Path, *options: str, name: str = "program") -> Path:
    """Compile it."""
    source, target = folder / f"{name}.c", folder / name
    source.write_text(PROGRAM)
    subprocess.run(["gcc", "-O2", *options, "-o", str(target), str(source)], check=True)
    return target
