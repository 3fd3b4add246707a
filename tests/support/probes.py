"""Programs with libvirt's probes, compiled with SystemTap's <sys/sdt.h>."""

from __future__ import annotations

import subprocess
from pathlib import Path

#: The relevant start of virNetMessage: the length follows the pointer to the buffer.
#: OTHER makes it a build with something between them.
PROGRAM = r"""
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

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

static void *run_again(void *path) {
    execl(path, path, (char *) 0);
    return 0;
}

/* Each line of standard input: t, u (the other place) or r, the length, and a message in hex, in which more
   than that may follow. f sends it from a child, x and X run the program again, X in another thread. */
int main(int argc, char **argv) {
    static char line[1 << 20], bytes[1 << 19];
    pthread_t thread;
    setvbuf(stdin, 0, _IONBF, 0);
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
        if (kind == 'f') {
            if (fork() == 0) {
                sent(client, &m, h);
                _exit(0);
            }
            wait(0);
        }
        puts("done");
        fflush(stdout);
        if (kind == 'x') run_again(argv[0]);
        if (kind == 'X' && pthread_create(&thread, 0, run_again, argv[0]) == 0) pthread_join(thread, 0);
    }
    return 0;
}
"""

#: The QEMU monitor of libvirt, and the event loop of releases before 6.1. Each line of standard input: the
#: kind, a number, and text in hex. The text is where malloc might put it, and after the last 8 bytes that it
#: needs the memory ends.
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

enum { PAGES = 17 << 12 };

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


#: A library that passes its probe and prints its semaphore for each line of standard input.
COUNTER = r"""
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
#include <stdio.h>

__extension__ volatile unsigned short libvirt_rpc_socket_dispose_semaphore
    __attribute__((section(".probes"))) = 0;

int main(void) {
    char line[80];
    while (fgets(line, sizeof line, stdin)) {
        DTRACE_PROBE1(libvirt, rpc_socket_dispose, line);
        printf("%d\n", libvirt_rpc_socket_dispose_semaphore);
        fflush(stdout);
    }
    return 0;
}
"""

#: Maps the given files as a loader maps code, and waits.
MAPPER = r"""
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        if (mmap(0, 1 << 16, PROT_READ | PROT_EXEC, MAP_PRIVATE, open(argv[i], O_RDONLY), 0) == MAP_FAILED)
            return 1;
    puts("mapped");
    fflush(stdout);
    return getchar() == 'x';
}
"""

#: A program with the given notes, in which `place` and `other` are code, and `counter` has semaphores.
NOTES = r"""
#include <stdio.h>

unsigned short counters[4] __asm__("counter") = {{1}};
__asm__ (".pushsection .stapsdt.base,\"aG\",\"progbits\",.stapsdt.base,comdat\n"
         "_.stapsdt.base: .space 1\n.popsection\n");
{notes}

int main(void) {{
    __asm__ volatile ("place: nop\n\tnop\n\tother: nop\n\t.skip 6000, 0x90");
    return getchar() == 'x';
}}
"""
_NOTE = r"""__asm__ (".pushsection .note.stapsdt,\"\",\"note\"\n.rept {times}\n.balign 4\n"
    ".4byte 8, 992f-991f, 3\n.asciz \"stapsdt\"\n991: .8byte {place}, _.stapsdt.base, {semaphore}\n"
    ".asciz \"libvirt\"\n.asciz \"{name}\"\n.asciz \"{arguments}\"\n992: .balign 4\n.endr\n.popsection\n");
"""


def note(name: str, place: str, semaphore: str, arguments: str, times: int = 1) -> str:
    """A note with the provider libvirt, for NOTES."""
    return _NOTE.format(name=name, place=place, semaphore=semaphore, arguments=arguments, times=times)


def program(folder: Path, *options: str, name: str = "program", text: str = PROGRAM) -> Path:
    """Compile one of the programs."""
    source, target = folder / f"{name}.c", folder / name
    source.write_text(text)
    subprocess.run(["gcc", "-O2", *options, "-o", str(target), str(source)], check=True)
    return target
