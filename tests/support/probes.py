"""Programs of our own with libvirt's probes, compiled with SystemTap's <sys/sdt.h>."""

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

#: The QEMU monitor of libvirt, and the event loop of releases before 6.1. Each line of standard input: the
#: kind, a number, and text in hex. The text is at a place where malloc might put it, and behind the last 8
#: bytes that it needs there is no memory.
OTHERS = r"""
#define _GNU_SOURCE
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#define SEMAPHORE(name) \
    __extension__ volatile unsigned short libvirt_##name##_semaphore \
        __attribute__((unused)) __attribute__((section(".probes")));
SEMAPHORE(qemu_monitor_send_msg)
SEMAPHORE(qemu_monitor_recv_reply)
SEMAPHORE(qemu_monitor_recv_event)
SEMAPHORE(event_poll_add_handle)
SEMAPHORE(event_poll_purge_handle)
SEMAPHORE(event_poll_dispatch_timeout)
SEMAPHORE(event_poll_run)

enum { PAGES = 16 << 12 };

int main(void) {
    static char line[1 << 18], bytes[1 << 17];
    char *memory = mmap(0, PAGES + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED || munmap(memory + PAGES, 4096)) return 1;
    while (fgets(line, sizeof line, stdin)) {
        char kind;
        long number;
        int at;
        size_t count = 0;
        if (sscanf(line, "%c %ld %n", &kind, &number, &at) < 2) return 1;
        for (char *p = line + at; sscanf(p, "%2hhx", &bytes[count]) == 1; p += 2) count++;
        bytes[count++] = 0;
        memset(memory, 'S', PAGES);
        char *text = memory + PAGES - ((count + 7) & ~(size_t) 7);
        memcpy(text, bytes, count);
        void *mon = (void *) 0x7f5dc4004a90;
        if (kind == 's') DTRACE_PROBE3(libvirt, qemu_monitor_send_msg, mon, text, number);
        if (kind == 'n') DTRACE_PROBE3(libvirt, qemu_monitor_send_msg, mon, (char *) (number - number), -1);
        if (kind == 'r') DTRACE_PROBE2(libvirt, qemu_monitor_recv_reply, mon, text);
        if (kind == 'e') DTRACE_PROBE2(libvirt, qemu_monitor_recv_event, mon, text);
        if (kind == 'h') DTRACE_PROBE6(libvirt, event_poll_add_handle, 7, (int) number, 1, mon, text, 0);
        if (kind == 'p') DTRACE_PROBE1(libvirt, event_poll_purge_handle, (int) number);
        if (kind == 't') DTRACE_PROBE1(libvirt, event_poll_dispatch_timeout, (int) number);
        if (kind == '~') DTRACE_PROBE2(libvirt, event_poll_run, 3, (int) number);
        puts("done");
        fflush(stdout);
    }
    return 0;
}
"""


def program(folder: Path, *options: str, name: str = "program", text: str = PROGRAM) -> Path:
    """Compile one."""
    source, target = folder / f"{name}.c", folder / name
    source.write_text(text)
    subprocess.run(["gcc", "-O2", *options, "-o", str(target), str(source)], check=True)
    return target
