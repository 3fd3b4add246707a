/* Delays calls of a libvirt daemon: a library for LD_PRELOAD.
 *
 * INCIDENT_DELAYS names a file that is read at each call. A line "FUNCTION NAME MILLISECONDS" delays a public
 * function for a domain or storage pool of this name, "*" for any. With a fourth word, "locked", the call holds
 * a lock of the object meanwhile, as drivers do for their jobs. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef long (*function)(long, long, long, long, long, long);
typedef const char *(*name_of)(void *);

static pthread_mutex_t locks[64];

__attribute__((constructor)) static void initialize(void)
{
    for (size_t i = 0; i < sizeof(locks) / sizeof(*locks); i++)
        pthread_mutex_init(&locks[i], NULL);
}

static pthread_mutex_t *lock_of(const char *name)
{
    unsigned int hash = 5381;
    while (*name)
        hash = hash * 33 + (unsigned char)*name++;
    return &locks[hash % (sizeof(locks) / sizeof(*locks))];
}

static pthread_mutex_t *delay(const char *function, const char *name)
{
    char line[256], in[64], of[128], how[16];
    long milliseconds = 0;
    pthread_mutex_t *lock = NULL;
    const char *path = getenv("INCIDENT_DELAYS");
    FILE *file = path ? fopen(path, "r") : NULL;
    if (!file)
        return NULL;
    while (fgets(line, sizeof(line), file)) {
        long found;
        int words = sscanf(line, "%63s %127s %ld %15s", in, of, &found, how);
        if (words < 3 || strcmp(in, function) || (strcmp(of, "*") && strcmp(of, name)))
            continue;
        milliseconds = found;
        lock = words == 4 ? lock_of(name) : NULL;
    }
    fclose(file);
    if (lock)
        pthread_mutex_lock(lock);
    struct timespec rest = {milliseconds / 1000, milliseconds % 1000 * 1000000};
    nanosleep(&rest, NULL);
    return lock;
}

/* All arguments and results of these functions are pointers and integers, in registers. */
#define DELAYED(symbol, getter)                                             \
    long symbol(long a, long b, long c, long d, long e, long f)             \
    {                                                                       \
        function next = (function)dlsym(RTLD_NEXT, #symbol);                \
        name_of getter_of = (name_of)dlsym(RTLD_NEXT, getter);              \
        const char *name = getter_of ? getter_of((void *)a) : "";           \
        pthread_mutex_t *lock = delay(#symbol, name ? name : "");           \
        long result = next(a, b, c, d, e, f);                               \
        if (lock)                                                           \
            pthread_mutex_unlock(lock);                                     \
        return result;                                                      \
    }
#define DOMAIN(symbol) DELAYED(symbol, "virDomainGetName")
#define POOL(symbol) DELAYED(symbol, "virStoragePoolGetName")
#define CONNECTION(symbol) DELAYED(symbol, "")

DOMAIN(virDomainBlockStats)
DOMAIN(virDomainBlockStatsFlags)
DOMAIN(virDomainCreate)
DOMAIN(virDomainCreateWithFlags)
DOMAIN(virDomainDestroy)
DOMAIN(virDomainGetBlockInfo)
DOMAIN(virDomainGetCPUStats)
DOMAIN(virDomainGetInfo)
DOMAIN(virDomainGetState)
DOMAIN(virDomainGetXMLDesc)
DOMAIN(virDomainInterfaceStats)
DOMAIN(virDomainManagedSave)
DOMAIN(virDomainMemoryStats)
DOMAIN(virDomainResume)
DOMAIN(virDomainSuspend)
POOL(virStoragePoolListAllVolumes)
POOL(virStoragePoolRefresh)
CONNECTION(virConnectGetAllDomainStats)
CONNECTION(virConnectGetCapabilities)
CONNECTION(virConnectListAllDomains)
CONNECTION(virDomainDefineXML)
CONNECTION(virDomainDefineXMLFlags)
CONNECTION(virNodeGetInfo)
