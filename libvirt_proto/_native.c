/* The native core: payloads checked and written as JSON, and captures scanned, by the plan of any definitions.
 *
 * Refusing is always safe: a function that returns None, or a scan that stops before a packet, leaves the work to
 * the Python code, which is complete and reports every problem. Only accepting what Python would not is a fault.
 * All reads go through a Cursor, all writes through an Out; indices of a plan are checked once, when it is loaded.
 *
 * Sources: RFC 4506 (XDR), RFC 791, RFC 8200, RFC 9293, virnetprotocol.x, draft-ietf-opsawg-pcap(ng).
 */

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

/* Results of functions without a Python object. */
enum { OK = 0, REFUSED = -1, NO_MEMORY = -2, RAISED = -3 };

/* ---- bytes in ---- */

typedef struct {
    const uint8_t *at, *end;
    size_t values; /* that may still be read */
} Cursor;

/* Real types have less than two values for each byte; types without a size could have any number. */
static inline Cursor cursor(const uint8_t *at, const uint8_t *end)
{
    Cursor in = {at, end, 2 * (size_t)(end - at) + 1024};
    return in;
}

static inline size_t left(const Cursor *in) { return (size_t)(in->end - in->at); }

static inline uint16_t half_at(const uint8_t *at) { return (uint16_t)(at[0] << 8 | at[1]); }

static inline uint32_t word_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint32_t little_at(const uint8_t *at)
{
    return (uint32_t)at[3] << 24 | (uint32_t)at[2] << 16 | (uint32_t)at[1] << 8 | at[0];
}

static inline int take_word(Cursor *in, uint32_t *word)
{
    if (left(in) < 4)
        return REFUSED;
    *word = word_at(in->at);
    in->at += 4;
    return OK;
}

static inline int take_long(Cursor *in, uint64_t *number)
{
    if (left(in) < 8)
        return REFUSED;
    *number = (uint64_t)word_at(in->at) << 32 | word_at(in->at + 4);
    in->at += 8;
    return OK;
}

/* `size` bytes, and their padding of zeros (RFC 4506 section 3). */
static inline int take_padded(Cursor *in, uint32_t size, const uint8_t **data)
{
    size_t padding = (size_t)(-size & 3);
    if (left(in) < size || left(in) - size < padding)
        return REFUSED;
    *data = in->at;
    in->at += size;
    for (; padding; padding--)
        if (*in->at++)
            return REFUSED;
    return OK;
}

/* ---- bytes out ---- */

/* One message never takes more. */
#define MAX_OUT ((size_t)256 << 20)
/* Memory that may be kept for the next message. */
#define MAX_SPARE ((size_t)64 << 10)

typedef struct {
    char *data;
    size_t size, room;
} Out;

static int grow(Out *out, size_t more)
{
    if (more > MAX_OUT || out->size > MAX_OUT - more)
        return REFUSED;
    size_t room = out->room < 64 ? 64 : out->room; /* there is one for each lane */
    while (room < out->size + more)
        room *= 2;
    char *data = PyMem_Realloc(out->data, room);
    if (data == NULL)
        return NO_MEMORY;
    out->data = data;
    out->room = room;
    return OK;
}

static inline int out_room(Out *out, size_t more) { return more <= out->room - out->size ? OK : grow(out, more); }

static inline int put(Out *out, const void *data, size_t size)
{
    int status = out_room(out, size);
    if (status)
        return status;
    if (size)
        memcpy(out->data + out->size, data, size);
    out->size += size;
    return OK;
}

static void out_free(Out *out)
{
    PyMem_Free(out->data);
    out->data = NULL;
    out->size = out->room = 0;
}

/* Give back most of what a large message needed: there are thousands of lanes. */
static void shrink(Out *out)
{
    const size_t room = 2 * out->size + 64;
    char *data = out->room > 2048 && room < out->room / 4 ? PyMem_Realloc(out->data, room) : NULL;
    if (data != NULL) {
        out->data = data;
        out->room = room;
    }
}

static int put_unsigned(Out *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return put(out, digits + at, sizeof digits - at);
}

static int put_signed(Out *out, int64_t number)
{
    if (number >= 0)
        return put_unsigned(out, (uint64_t)number);
    int status = put(out, "-", 1);
    return status ? status : put_unsigned(out, -(uint64_t)number);
}

static const char HEX[] = "0123456789abcdef";

static int put_hex(Out *out, const uint8_t *data, size_t size)
{
    int status = out_room(out, 2 * size);
    if (status)
        return status;
    char *to = out->data + out->size;
    for (size_t i = 0; i < size; i++) {
        *to++ = HEX[data[i] >> 4];
        *to++ = HEX[data[i] & 15];
    }
    out->size += 2 * size;
    return OK;
}

/* The size of the UTF-8 sequence at `at` (RFC 3629: no surrogates, no longer form than needed), 0 if it is none. */
static size_t utf8_size(const uint8_t *at, const uint8_t *end)
{
    size_t there = (size_t)(end - at);
    uint8_t first = at[0];
    if (first < 0xC2 || first > 0xF4)
        return 0;
    size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (there < size)
        return 0;
    for (size_t i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    if ((first == 0xE0 && at[1] < 0xA0) || (first == 0xED && at[1] > 0x9F) || (first == 0xF0 && at[1] < 0x90) ||
        (first == 0xF4 && at[1] > 0x8F))
        return 0;
    return size;
}

/* A string of JSON (RFC 8259 section 7), as msgspec writes it; refused if it is not UTF-8. */
static int put_string(Out *out, const uint8_t *at, size_t size)
{
    const uint8_t *end = at + size;
    int status = out_room(out, size + 2);
    if (status)
        return status;
    out->data[out->size++] = '"';
    while (at < end) {
        const uint8_t *plain = at;
        while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\')
            at++;
        if ((status = put(out, plain, (size_t)(at - plain))))
            return status;
        if (at == end)
            break;
        if (*at >= 0x80) {
            size_t sequence = utf8_size(at, end);
            if (!sequence)
                return REFUSED;
            if ((status = put(out, at, sequence)))
                return status;
            at += sequence;
            continue;
        }
        char escape[6] = {'\\', 'u', '0', '0', HEX[*at >> 4], HEX[*at & 15]};
        size_t length = 2;
        switch (*at++) {
        case '"': escape[1] = '"'; break;
        case '\\': escape[1] = '\\'; break;
        case '\b': escape[1] = 'b'; break;
        case '\t': escape[1] = 't'; break;
        case '\n': escape[1] = 'n'; break;
        case '\f': escape[1] = 'f'; break;
        case '\r': escape[1] = 'r'; break;
        default: length = 6;
        }
        if ((status = put(out, escape, length)))
            return status;
    }
    return put(out, "\"", 1);
}

/* Bytes as JSON, in base64 (RFC 4648 section 4). */
static int put_base64(Out *out, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    int status = out_room(out, (size + 2) / 3 * 4 + 2);
    if (status)
        return status;
    char *to = out->data + out->size;
    *to++ = '"';
    for (size_t i = 0; i < size; i += 3) {
        const uint32_t bits = (uint32_t)data[i] << 16 | (i + 1 < size ? (uint32_t)data[i + 1] << 8 : 0) |
                              (i + 2 < size ? data[i + 2] : 0);
        *to++ = digits[bits >> 18];
        *to++ = digits[bits >> 12 & 63];
        *to++ = i + 1 < size ? digits[bits >> 6 & 63] : '=';
        *to++ = i + 2 < size ? digits[bits & 63] : '=';
    }
    *to++ = '"';
    out->size = (size_t)(to - out->data);
    return OK;
}

/* A number that JSON lacks, as text: jsonlines/encode.py. */
static int put_not_finite(Out *out, uint64_t bits)
{
    int status;
    if (bits == 0x7FF0000000000000)
        return put(out, "\"Infinity\"", 10);
    if (bits == 0xFFF0000000000000)
        return put(out, "\"-Infinity\"", 11);
    if (bits == 0x7FF8000000000000)
        return put(out, "\"NaN\"", 5);
    uint8_t data[8];
    for (int i = 0; i < 8; i++)
        data[i] = (uint8_t)(bits >> (56 - 8 * i));
    if ((status = put(out, "\"NaN(0x", 7)) || (status = put_hex(out, data, sizeof data)))
        return status;
    return put(out, ")\"", 2);
}

/* The shortest digits, as msgspec writes them: an exponent below 1e-5 and from 1e16 on, without + and zeros. */
static int put_double(Out *out, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits >> 52 & 0x7FF) == 0x7FF)
        return put_not_finite(out, bits);
    char *text = PyOS_double_to_string(value, 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    if (text == NULL) {
        PyErr_Clear();
        return NO_MEMORY;
    }
    char *end = text + strlen(text), *power = memchr(text, 'e', (size_t)(end - text));
    int status;
    if (power == NULL)
        status = put(out, text, (size_t)(end - text));
    else if (memcmp(power, "e-05", 5) == 0) {
        char *at = text;
        status = *at == '-' ? put(out, at++, 1) : OK;
        if (!status && !(status = put(out, "0.0000", 6)))
            status = put(out, at, 1);
        if (!status && ++at < power)
            status = put(out, at + 1, (size_t)(power - at) - 1);
    }
    else {
        char *at = power + 1;
        status = put(out, text, (size_t)(at - text));
        if (!status && *at == '-')
            status = put(out, at, 1);
        for (at++; *at == '0'; at++)
            ;
        status = status ? status : put(out, at, (size_t)(end - at));
    }
    PyMem_Free(text);
    return status;
}

/* ---- plans ---- */

/* A plan is an array of words: header, rows, pool. libvirt_proto/native_plan.py describes and builds it. */
enum { HEADER_WORDS = 4, ROW_WORDS = 6, FORMAT = 1 };
enum {
    VOID_, INT, UINT, HYPER, UHYPER, FLOAT, DOUBLE, BOOL, ENUM, FIXED_OPAQUE, UUID, OPAQUE, STRING, FIXED_ARRAY, ARRAY,
    OPTIONAL, STRUCT, UNION, UNKNOWN, KINDS
};
enum { ONE_OF = 1, BITS, BY };
#define NONE 0xFFFFFFFFu
#define ANY 0xFFFFFFFEu
#define MAX_NESTING 100
#define MAX_FIELDS 256
/* Fields that may decide on the names of later ones. There is room for them at each level of nesting: threads have
 * little stack, with musl 128 KB. */
#define MAX_DECIDING 8

/* A row: kind; limit or size; element or number of entries; place of the entries; place of the arms; default. */
typedef struct {
    uint32_t kind, limit, count, entries, arms, fallback;
} Row;

/* An entry of a struct, or the discriminant or an arm of a union: row, text before it, and its names. */
typedef struct {
    uint32_t row, text, length, names;
} Entry;

typedef struct {
    uint32_t *words;
    size_t rows, words_count, pool;
    char *text;
    size_t text_size, checks; /* that its validation may still take: entries of names can be shared */
    PyObject **bound;   /* row -> class of a struct or a union, dict of an enum; NULL until it is needed */
    PyObject **known;   /* row -> names of the class's attributes, class of the enum's members */
    PyObject *resolver; /* row -> such an object */
} Plan;

static inline const Row *row_of(const Plan *plan, uint32_t row)
{
    return (const Row *)(plan->words + HEADER_WORDS + (size_t)row * ROW_WORDS);
}

static inline const Entry *entry_of(const Plan *plan, uint32_t place, uint32_t at)
{
    return (const Entry *)(plan->words + place) + at;
}

/* Whether a table is in the pool. Tables may overlap, but not without bound. */
static int table_fits(Plan *plan, uint32_t place, uint64_t count, uint32_t size)
{
    if (place < plan->pool || place > plan->words_count || count * size > plan->words_count - place ||
        count > plan->checks)
        return 0;
    plan->checks -= (size_t)count;
    return 1;
}

static int text_fits(const Plan *plan, uint32_t at, uint32_t length)
{
    return at <= plan->text_size && length <= plan->text_size - at;
}

/* A table of numbers with texts, which are the last two words of an entry. */
static int texts_fit(Plan *plan, uint32_t place, uint32_t count, uint32_t size)
{
    if (!table_fits(plan, place, count, size))
        return 0;
    const uint32_t *text = plan->words + place + size - 2;
    for (; count && text_fits(plan, text[0], text[1]); count--)
        text += size;
    return !count;
}

/* Names of a number: kind; number of entries; place of the entries; for BITS two words with the known bits, for BY the
 * field that decides; the key as text. An entry has the number (two words), for BY the other one before it, and the
 * text. */
enum { NAMES_WORDS = 7 };

static int valid_names(Plan *plan, uint32_t place)
{
    if (!table_fits(plan, place, 1, NAMES_WORDS))
        return 0;
    const uint32_t *names = plan->words + place;
    return names[0] >= ONE_OF && names[0] <= BY && text_fits(plan, names[5], names[6]) &&
           texts_fit(plan, names[2], names[1], names[0] == BY ? 6 : 4);
}

static int valid_entries(Plan *plan, uint32_t place, uint64_t count)
{
    if (!table_fits(plan, place, count, 4))
        return 0;
    for (uint64_t i = 0; i < count; i++) {
        const Entry *entry = entry_of(plan, place, (uint32_t)i);
        if (entry->row >= plan->rows || !text_fits(plan, entry->text, entry->length) ||
            (entry->names && !valid_names(plan, entry->names)))
            return 0;
    }
    return 1;
}

/* Four bytes that are an integer (RFC 4506 section 4.15). */
static int is_discriminant(uint32_t kind) { return kind == INT || kind == UINT || kind == BOOL || kind == ENUM; }

static int valid_row(Plan *plan, const Row *row)
{
    switch (row->kind) {
    case ENUM: /* entries: value, text, length */
        return texts_fit(plan, row->entries, row->count, 3);
    case FIXED_ARRAY:
    case ARRAY:
    case OPTIONAL: /* count: the row of the element */
        return row->count < plan->rows;
    case STRUCT:
        return row->count <= MAX_FIELDS && valid_entries(plan, row->entries, row->count);
    case UNION: /* entries: the discriminant, then the arms; arms: label, number of the entry */
        if (!valid_entries(plan, row->entries, (uint64_t)row->limit + 1) ||
            !is_discriminant(row_of(plan, entry_of(plan, row->entries, 0)->row)->kind))
            return 0;
        if (!table_fits(plan, row->arms, row->count, 2) || (row->fallback != NONE && row->fallback > row->limit))
            return 0;
        for (uint32_t i = 0; i < row->count; i++)
            if (plan->words[row->arms + (size_t)i * 2 + 1] > row->limit)
                return 0;
        return 1;
    default:
        return row->kind < KINDS;
    }
}

static int valid_plan(Plan *plan)
{
    if (plan->words_count < HEADER_WORDS || plan->words[0] != FORMAT)
        return 0;
    plan->rows = plan->words[1];
    if (plan->rows > (plan->words_count - HEADER_WORDS) / ROW_WORDS)
        return 0;
    plan->pool = HEADER_WORDS + plan->rows * ROW_WORDS;
    plan->checks = 64 * plan->words_count + (1 << 20);
    for (size_t i = 0; i < plan->rows; i++)
        if (!valid_row(plan, row_of(plan, (uint32_t)i)))
            return 0;
    return 1;
}

/* ---- values ---- */

/* A number, a double, or `size` bytes or elements. */
typedef struct {
    int64_t number;
    double real;
    const uint8_t *data;
    uint32_t size;
} Leaf;

/* Read a value that has no others, or of those that have: whether an optional is there, and the size of an array.
 * Inline, because a call for each value would cost a fifth of a check. */
static inline __attribute__((always_inline)) int take_leaf(const Row *row, Cursor *in, Leaf *leaf)
{
    uint32_t word = 0;
    uint64_t wide = 0;
    float narrow;
    *leaf = (Leaf){.size = row->limit};
    if (!in->values--)
        return REFUSED;
    switch (row->kind) {
    case VOID_:
    case STRUCT:
    case UNION:
    case FIXED_ARRAY: return OK;
    case INT:
    case UINT:
    case ENUM:
    case BOOL:
    case OPTIONAL:
        if (take_word(in, &word) || (word > 1 && (row->kind == BOOL || row->kind == OPTIONAL)))
            return REFUSED;
        leaf->number = row->kind == UINT ? (int64_t)word : (int32_t)word;
        return OK;
    case HYPER:
    case UHYPER:
        if (take_long(in, &wide))
            return REFUSED;
        leaf->number = (int64_t)wide;
        return OK;
    case FLOAT:
        if (take_word(in, &word))
            return REFUSED;
        memcpy(&narrow, &word, sizeof narrow);
        leaf->real = (double)narrow;
        return narrow != narrow ? REFUSED : OK; /* the bits of NaN depend on Python's version */
    case DOUBLE:
        if (take_long(in, &wide))
            return REFUSED;
        memcpy(&leaf->real, &wide, sizeof leaf->real);
        return OK;
    case ARRAY:
        if (take_word(in, &leaf->size) || leaf->size > row->limit || leaf->size > left(in) / 4)
            return REFUSED;
        return OK;
    case OPAQUE:
    case STRING:
        if (take_word(in, &leaf->size) || leaf->size > row->limit)
            return REFUSED;
        return take_padded(in, leaf->size, &leaf->data);
    case FIXED_OPAQUE: return take_padded(in, leaf->size, &leaf->data);
    case UUID: return take_padded(in, leaf->size = 16, &leaf->data);
    default: return REFUSED;
    }
}

static int put_text(Out *out, const Plan *plan, uint32_t at, uint32_t length)
{
    return put(out, plan->text + at, length);
}

static inline int64_t long_of(const uint32_t *words)
{
    return (int64_t)((uint64_t)words[0] << 32 | words[1]);
}

/* The entry of a number in a table that begins with it, in ascending order; NULL if it has none. */
static const uint32_t *find_number(const uint32_t *entries, uint32_t count, uint32_t size, int32_t number)
{
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if ((int32_t)entries[(size_t)middle * size] < number)
            low = middle + 1;
        else
            high = middle;
    }
    entries += (size_t)low * size;
    return low < count && (int32_t)*entries == number ? entries : NULL;
}

/* The text of a number among names, as two words; NULL if it has none. `other` decides for BY, and is 0 for others. */
static const uint32_t *find_name(const Plan *plan, const uint32_t *names, int64_t other, int64_t number)
{
    const uint32_t *entries = plan->words + names[2], size = names[0] == BY ? 6 : 4;
    uint32_t low = 0, high = names[1];
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2, *entry = entries + (size_t)middle * size;
        const int64_t first = size == 6 ? long_of(entry) : 0, second = long_of(entry + size - 4);
        if (first == other && second == number)
            return entry + size - 2;
        if (first < other || (first == other && second < number))
            low = middle + 1;
        else
            high = middle;
    }
    return NULL;
}

/* The names of the bits of a number. */
static int put_bits(Out *out, const Plan *plan, const uint32_t *names, int64_t number, int over)
{
    const uint32_t *entry = plan->words + names[2];
    const char *before = "[";
    int status;
    for (uint32_t i = 0; (number >= 0 || over) && i < names[1]; i++, entry += 4) {
        if (!(number & long_of(entry)))
            continue;
        if ((status = put(out, before, 1)) || (status = put_text(out, plan, entry[2], entry[3])))
            return status;
        before = ",";
    }
    const int64_t rest = number < 0 && !over ? number : number & ~long_of(names + 3);
    if (rest || *before == '[') {
        if ((status = put(out, before, 1)) ||
            (rest && (status = over ? put_unsigned(out, (uint64_t)rest) : put_signed(out, rest))))
            return status;
    }
    return put(out, "]", 1);
}

/* The key and the names of a number in the public API, after the number. `first` has the integers of the first
 * `count` fields of the struct. */
static int put_names(Out *out, const Plan *plan, const Entry *of, int64_t number, const int64_t *first, uint32_t count)
{
    const uint32_t *names = plan->words + of->names, *text = NULL;
    const int over = number < 0 && row_of(plan, of->row)->kind == UHYPER; /* 2^63 or more */
    int status = put_text(out, plan, names[5], names[6]);
    if (status)
        return status;
    if (names[0] == BITS)
        return put_bits(out, plan, names, number, over);
    if (names[0] == BY && names[3] >= count)
        return REFUSED;
    if (!over)
        text = find_name(plan, names, names[0] == BY ? first[names[3]] : 0, number);
    return text ? put_text(out, plan, text[0], text[1]) : put(out, "null", 4);
}

static int take_value(const Plan *plan, uint32_t at, Cursor *in, Out *out, int64_t *number, int depth);

static int take_elements(const Plan *plan, uint32_t row, uint32_t count, Cursor *in, Out *out, int depth)
{
    int status;
    if (out && (status = put(out, "[", 1)))
        return status;
    for (uint32_t i = 0; i < count; i++) {
        int64_t number;
        if (i && out && (status = put(out, ",", 1)))
            return status;
        if ((status = take_value(plan, row, in, out, &number, depth)))
            return status;
    }
    return out ? put(out, "]", 1) : OK;
}

static int take_struct(const Plan *plan, const Row *row, Cursor *in, Out *out, int depth)
{
    int64_t first[MAX_DECIDING];
    uint32_t count = 0;
    int status;
    for (uint32_t i = 0; i < row->count; i++) {
        const Entry *entry = entry_of(plan, row->entries, i);
        int64_t number = 0;
        if (out && (status = put_text(out, plan, entry->text, entry->length)))
            return status;
        if ((status = take_value(plan, entry->row, in, out, &number, depth)))
            return status;
        if (count < MAX_DECIDING)
            first[count++] = number;
        if (out && entry->names && (status = put_names(out, plan, entry, number, first, count)))
            return status;
    }
    return out ? put(out, row->count ? "}" : "{}", row->count ? 1 : 2) : OK;
}

static uint32_t arm_of(const Plan *plan, const Row *row, uint32_t number)
{
    const uint32_t *arm = find_number(plan->words + row->arms, row->count, 2, (int32_t)number);
    return arm ? arm[1] : row->fallback;
}

static int take_union(const Plan *plan, const Row *row, Cursor *in, Out *out, int depth)
{
    const Entry *discriminant = entry_of(plan, row->entries, 0);
    int64_t number = 0;
    int status;
    if (out && (status = put_text(out, plan, discriminant->text, discriminant->length)))
        return status;
    if ((status = take_value(plan, discriminant->row, in, out, &number, depth)))
        return status;
    if (out && discriminant->names && (status = put_names(out, plan, discriminant, number, &number, 1)))
        return status;
    uint32_t arm = arm_of(plan, row, (uint32_t)number);
    if (arm == NONE)
        return REFUSED;
    const Entry *chosen = entry_of(plan, row->entries, arm);
    int64_t ignored;
    if (row_of(plan, chosen->row)->kind != VOID_) {
        if (out && (status = put_text(out, plan, chosen->text, chosen->length)))
            return status;
        if ((status = take_value(plan, chosen->row, in, out, &ignored, depth)))
            return status;
    }
    return out ? put(out, "}", 1) : OK;
}

static int put_enum(Out *out, const Plan *plan, const Row *row, int32_t number)
{
    const uint32_t *entry = find_number(plan->words + row->entries, row->count, 3, number);
    return entry ? put_text(out, plan, entry[1], entry[2]) : put_signed(out, number);
}

/* The JSON of a value that is a leaf; see take_leaf. */
static int put_leaf(Out *out, const Plan *plan, const Row *row, const Leaf *leaf)
{
    static const uint8_t groups[] = {4, 2, 2, 2, 6}; /* of a UUID */
    const uint8_t *data = leaf->data;
    const size_t before = out->size;
    int status;
    switch (row->kind) {
    case INT:
    case HYPER: return put_signed(out, leaf->number);
    case UINT:
    case UHYPER: return put_unsigned(out, (uint64_t)leaf->number);
    case FLOAT:
    case DOUBLE: return put_double(out, leaf->real);
    case BOOL: return leaf->number ? put(out, "true", 4) : put(out, "false", 5);
    case ENUM: return put_enum(out, plan, row, (int32_t)leaf->number);
    case STRING:
        if ((status = put_string(out, data, leaf->size)) != REFUSED)
            return status;
        out->size = before; /* it is not UTF-8: jsonlines/encode.py */
        if ((status = put(out, "{\"base64\":", 10)) || (status = put_base64(out, data, leaf->size)))
            return status;
        return put(out, "}", 1);
    case FIXED_OPAQUE:
    case OPAQUE:
        if ((status = put(out, "\"", 1)) || (status = put_hex(out, data, leaf->size)))
            return status;
        return put(out, "\"", 1);
    case UUID:
        for (size_t i = 0; i < sizeof groups; data += groups[i++])
            if ((status = put(out, i ? "-" : "\"", 1)) || (status = put_hex(out, data, groups[i])))
                return status;
        return put(out, "\"", 1);
    default: return put(out, "null", 4); /* void, or an optional that is not there */
    }
}

/* Read a value; with `out`, write its JSON. `number` gets the value of an integer. */
static int take_value(const Plan *plan, uint32_t at, Cursor *in, Out *out, int64_t *number, int depth)
{
    const Row *row = row_of(plan, at);
    Leaf leaf;
    if (depth > MAX_NESTING || take_leaf(row, in, &leaf))
        return REFUSED;
    switch (row->kind) {
    case FIXED_ARRAY:
    case ARRAY: return take_elements(plan, row->count, leaf.size, in, out, depth + 1);
    case STRUCT: return take_struct(plan, row, in, out, depth + 1);
    case UNION: return take_union(plan, row, in, out, depth + 1);
    case OPTIONAL:
        if (leaf.number)
            return take_value(plan, row->count, in, out, number, depth + 1);
    }
    *number = leaf.number;
    return out ? put_leaf(out, plan, row, &leaf) : OK;
}

/* ---- objects ---- */

/* The class of a struct or a union, or the members of an enum; borrowed. */
static PyObject *bound(Plan *plan, uint32_t row)
{
    if (plan->bound[row] == NULL && plan->resolver != NULL) {
        PyObject *found = PyObject_CallFunction(plan->resolver, "I", row);
        if (found == NULL)
            return NULL;
        if (row_of(plan, row)->kind == ENUM && !PyDict_Check(found)) {
            Py_DECREF(found);
            PyErr_SetString(PyExc_TypeError, "expected the members of an enum by number");
            return NULL;
        }
        if (plan->bound[row] == NULL)
            plan->bound[row] = found;
        else /* by another thread, which may be using it */
            Py_DECREF(found);
    }
    return plan->bound[row];
}

static PyObject *build_value(Plan *plan, uint32_t at, Cursor *in, int depth);

/* Objects are built by calling their class: NULL without an exception means that Python has to read the value. */
static PyObject *build_list(Plan *plan, uint32_t row, uint32_t count, Cursor *in, int depth)
{
    if (count > in->values) /* lists in lists would reserve memory for values that cannot be there */
        return NULL;
    in->values -= count;
    PyObject *list = PyList_New((Py_ssize_t)count);
    for (uint32_t i = 0; list != NULL && i < count; i++) {
        PyObject *item = build_value(plan, row, in, depth);
        if (item == NULL) {
            Py_DECREF(list);
            return NULL;
        }
        if (PyList_SetItem(list, (Py_ssize_t)i, item) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

/* Values of a call without a tuple: PyObject_CallFunctionObjArgs allocates room for more. */
enum { FEW = 5 };

/* It is faster, and in the limited API since Python 3.12: earlier ones do not use it. */
extern PyObject *PyObject_Vectorcall(PyObject *, PyObject *const *, size_t, PyObject *) __attribute__((weak));

/* Call a class with a few values; the others are NULL. */
static PyObject *call(PyObject *class, PyObject *const values[FEW], uint32_t count)
{
    if (Py_Version >= 0x030C0000 && PyObject_Vectorcall != NULL)
        return PyObject_Vectorcall(class, values, count, NULL);
    return PyObject_CallFunctionObjArgs(class, values[0], values[1], values[2], values[3], values[4], NULL);
}

static PyObject *build_struct(Plan *plan, uint32_t at, const Row *row, Cursor *in, int depth)
{
    PyObject *class = bound(plan, at), *fields = NULL, *object = NULL, *values[FEW] = {NULL};
    uint32_t i = 0;
    if (class == NULL || (row->count > FEW && (fields = PyTuple_New((Py_ssize_t)row->count)) == NULL))
        return NULL;
    for (; i < row->count; i++) {
        PyObject *value = build_value(plan, entry_of(plan, row->entries, i)->row, in, depth);
        if (value == NULL)
            break;
        if (fields == NULL)
            values[i] = value;
        else
            PyTuple_SetItem(fields, (Py_ssize_t)i, value);
    }
    if (i == row->count)
        object = fields != NULL ? PyObject_Call(class, fields, NULL) : call(class, values, row->count);
    for (i = 0; i < FEW; i++)
        Py_XDECREF(values[i]);
    Py_XDECREF(fields);
    return object;
}

static PyObject *build_union(Plan *plan, uint32_t at, const Row *row, Cursor *in, int depth)
{
    PyObject *class = bound(plan, at), *object = NULL;
    if (class == NULL || left(in) < 4)
        return NULL;
    uint32_t arm = arm_of(plan, row, word_at(in->at));
    PyObject *values[FEW] = {build_value(plan, entry_of(plan, row->entries, 0)->row, in, depth)};
    if (values[0] == NULL)
        return NULL;
    if (arm != NONE && (values[1] = build_value(plan, entry_of(plan, row->entries, arm)->row, in, depth)) != NULL)
        object = call(class, values, 2);
    Py_DECREF(values[0]);
    Py_XDECREF(values[1]);
    return object;
}

/* The member of an enum with a number, or the number. */
static PyObject *build_enum(Plan *plan, uint32_t at, int32_t value)
{
    PyObject *members = bound(plan, at), *number = members == NULL ? NULL : PyLong_FromLong(value);
    PyObject *member = number == NULL ? NULL : PyDict_GetItemWithError(members, number);
    if (member == NULL && !PyErr_Occurred())
        return number;
    Py_XDECREF(number);
    return Py_XNewRef(member);
}

static PyObject *build_value(Plan *plan, uint32_t at, Cursor *in, int depth)
{
    const Row *row = row_of(plan, at);
    Leaf leaf;
    if (depth > MAX_NESTING || take_leaf(row, in, &leaf))
        return NULL;
    switch (row->kind) {
    case INT: return PyLong_FromLong((int32_t)leaf.number);
    case UINT:
    case HYPER: return PyLong_FromLongLong(leaf.number);
    case UHYPER: return PyLong_FromUnsignedLongLong((uint64_t)leaf.number);
    case FLOAT:
    case DOUBLE: return PyFloat_FromDouble(leaf.real);
    case BOOL: return PyBool_FromLong((int32_t)leaf.number);
    case ENUM: return build_enum(plan, at, (int32_t)leaf.number);
    case STRING: {
        PyObject *text = PyUnicode_DecodeUTF8((const char *)leaf.data, (Py_ssize_t)leaf.size, NULL);
        if (text != NULL || !PyErr_ExceptionMatches(PyExc_UnicodeDecodeError))
            return text;
        PyErr_Clear();
    } /* fall through */
    case FIXED_OPAQUE:
    case UUID:
    case OPAQUE: return PyBytes_FromStringAndSize((const char *)leaf.data, (Py_ssize_t)leaf.size);
    case FIXED_ARRAY:
        if (leaf.size > left(in))
            return NULL; /* before room is made */
    /* fall through */
    case ARRAY: return build_list(plan, row->count, leaf.size, in, depth + 1);
    case STRUCT: return build_struct(plan, at, row, in, depth + 1);
    case UNION: return build_union(plan, at, row, in, depth + 1);
    case OPTIONAL:
        if (leaf.number)
            return build_value(plan, row->count, in, depth + 1);
    } /* fall through */
    return Py_NewRef(Py_None);
}

/* ---- objects to bytes ---- */

typedef struct {
    Plan *plan;
    Out out;
    uint64_t steps;
} Writer;

static inline int put_word(Out *out, uint32_t word)
{
    const uint8_t data[4] = {(uint8_t)(word >> 24), (uint8_t)(word >> 16), (uint8_t)(word >> 8), (uint8_t)word};
    return put(out, data, sizeof data);
}

static inline int put_long(Out *out, uint64_t number)
{
    int status = put_word(out, (uint32_t)(number >> 32));
    return status ? status : put_word(out, (uint32_t)number);
}

static int put_padded(Out *out, const void *data, size_t size)
{
    int status = put(out, data, size);
    return status ? status : put(out, "\0\0\0", -size & 3);
}

/* Names of the attributes of a struct or a union, or the class of an enum's members (None without); borrowed. */
static PyObject *known(Plan *plan, uint32_t at)
{
    const Row *row = row_of(plan, at);
    PyObject *class = bound(plan, at), *found = NULL, *key, *member;
    Py_ssize_t place = 0;
    if (plan->known[at] != NULL || class == NULL)
        return plan->known[at];
    if (row->kind == ENUM)
        found = Py_NewRef(PyDict_Next(class, &place, &key, &member) ? (PyObject *)Py_TYPE(member) : Py_None);
    else if ((found = PyObject_GetAttrString(class, "__struct_fields__")) != NULL &&
             (!PyTuple_Check(found) || PyTuple_Size(found) != (row->kind == UNION ? 2 : (Py_ssize_t)row->count))) {
        PyErr_SetString(PyExc_TypeError, "expected a class with the fields of the type");
        Py_CLEAR(found);
    }
    if (found != NULL && plan->known[at] != NULL) /* the class came here, too: the first answer may be in use */
        Py_DECREF(found);
    else if (found != NULL)
        plan->known[at] = found;
    return found == NULL ? NULL : plan->known[at];
}

static int write_value(Writer *to, uint32_t at, PyObject *value, int depth);

static int write_attribute(Writer *to, uint32_t row, PyObject *object, PyObject *name, int depth)
{
    PyObject *value = PyObject_GetAttr(object, name);
    if (value == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError))
            return RAISED;
        PyErr_Clear();
        return REFUSED;
    }
    int status = write_value(to, row, value, depth);
    Py_DECREF(value);
    return status;
}

static int write_list(Writer *to, uint32_t row, PyObject *list, int depth)
{
    const Py_ssize_t count = PyList_Size(list);
    int status = OK;
    for (Py_ssize_t i = 0; !status && i < count; i++) {
        if (PyList_Size(list) != count)
            return REFUSED; /* an attribute changed it */
        PyObject *item = Py_NewRef(PyList_GetItem(list, i));
        status = write_value(to, row, item, depth);
        Py_DECREF(item);
    }
    return status;
}

static int write_union(Writer *to, const Row *row, PyObject *names, PyObject *value, int depth)
{
    const size_t before = to->out.size;
    int status = write_attribute(to, entry_of(to->plan, row->entries, 0)->row, value, PyTuple_GetItem(names, 0), depth);
    if (status)
        return status;
    const uint32_t arm = arm_of(to->plan, row, word_at((const uint8_t *)to->out.data + before));
    if (arm == NONE)
        return REFUSED;
    return write_attribute(to, entry_of(to->plan, row->entries, arm)->row, value, PyTuple_GetItem(names, 1), depth);
}

/* An int of a range, or REFUSED. */
static int integer_of(PyObject *value, int64_t least, int64_t most, int64_t *number)
{
    int overflow;
    *number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow || *number < least || *number > most ? REFUSED : OK;
}

/* Write the XDR of a value. Only values as decoded are written: anything else is REFUSED, and is Python's. */
static int write_value(Writer *to, uint32_t at, PyObject *value, int depth)
{
    Plan *plan = to->plan;
    const Row *row = row_of(plan, at);
    Out *out = &to->out;
    int64_t number;
    int status;
    if (depth > MAX_NESTING || !to->steps--)
        return REFUSED;
    switch (row->kind) {
    case VOID_:
        return value == Py_None ? OK : REFUSED;
    case INT:
    case UINT:
        if (!PyLong_CheckExact(value) || integer_of(value, row->kind == INT ? INT32_MIN : 0, row->kind == INT ? INT32_MAX : UINT32_MAX, &number))
            return REFUSED;
        return put_word(out, (uint32_t)number);
    case HYPER:
        if (!PyLong_CheckExact(value) || integer_of(value, INT64_MIN, INT64_MAX, &number))
            return REFUSED;
        return put_long(out, (uint64_t)number);
    case UHYPER: {
        if (!PyLong_CheckExact(value))
            return REFUSED;
        const unsigned long long wide = PyLong_AsUnsignedLongLong(value);
        if (wide == (unsigned long long)-1 && PyErr_Occurred()) {
            PyErr_Clear();
            return REFUSED;
        }
        return put_long(out, wide);
    }
    case FLOAT:
    case DOUBLE: {
        if (!PyFloat_CheckExact(value))
            return REFUSED;
        const double wide = PyFloat_AsDouble(value);
        uint64_t bits;
        memcpy(&bits, &wide, sizeof bits);
        if (row->kind == DOUBLE)
            return put_long(out, bits);
        const float narrow = (float)wide;
        uint32_t word;
        memcpy(&word, &narrow, sizeof word);
        if ((word >> 23 & 0xFF) == 0xFF && (narrow != narrow || (bits >> 52 & 0x7FF) != 0x7FF))
            return REFUSED; /* NaN, or too large */
        return put_word(out, word);
    }
    case BOOL:
        return value == Py_True ? put_word(out, 1) : value == Py_False ? put_word(out, 0) : REFUSED;
    case ENUM:
        if (!PyLong_CheckExact(value)) {
            PyObject *class = known(plan, at);
            if (class == NULL)
                return PyErr_Occurred() ? RAISED : REFUSED;
            if ((PyObject *)Py_TYPE(value) != class || !PyLong_Check(value))
                return REFUSED;
        }
        return integer_of(value, INT32_MIN, INT32_MAX, &number) ? REFUSED : put_word(out, (uint32_t)number);
    case FIXED_OPAQUE:
    case UUID:
    case OPAQUE:
    case STRING: {
        const char *data;
        Py_ssize_t size;
        if (PyBytes_CheckExact(value)) {
            data = PyBytes_AsString(value);
            size = PyBytes_Size(value);
        }
        else if (row->kind == STRING && PyUnicode_CheckExact(value)) {
            if ((data = PyUnicode_AsUTF8AndSize(value, &size)) == NULL) {
                PyErr_Clear();
                return REFUSED;
            }
        }
        else
            return REFUSED;
        if (row->kind == FIXED_OPAQUE || row->kind == UUID)
            return (size_t)size != (row->kind == UUID ? 16 : row->limit) ? REFUSED : put_padded(out, data, (size_t)size);
        if ((size_t)size > row->limit)
            return REFUSED;
        return (status = put_word(out, (uint32_t)size)) ? status : put_padded(out, data, (size_t)size);
    }
    case FIXED_ARRAY:
        if (!PyList_CheckExact(value) || (size_t)PyList_Size(value) != row->limit)
            return REFUSED;
        return write_list(to, row->count, value, depth + 1);
    case ARRAY:
        if (!PyList_CheckExact(value) || (size_t)PyList_Size(value) > row->limit)
            return REFUSED;
        return (status = put_word(out, (uint32_t)PyList_Size(value))) ? status : write_list(to, row->count, value, depth + 1);
    case OPTIONAL:
        if ((status = put_word(out, value != Py_None)) || value == Py_None)
            return status;
        return write_value(to, row->count, value, depth + 1);
    case STRUCT:
    case UNION: {
        PyObject *names = known(plan, at);
        if (names == NULL)
            return PyErr_Occurred() ? RAISED : REFUSED;
        if ((PyObject *)Py_TYPE(value) != plan->bound[at])
            return REFUSED;
        if (row->kind == UNION)
            return write_union(to, row, names, value, depth + 1);
        status = OK;
        for (uint32_t i = 0; !status && i < row->count; i++)
            status = write_attribute(to, entry_of(plan, row->entries, i)->row, value,
                                     PyTuple_GetItem(names, (Py_ssize_t)i), depth + 1);
        return status;
    }
    default:
        return REFUSED;
    }
}

/* ---- the plan as a Python object ---- */

typedef struct {
    PyObject_HEAD
    Plan plan;
    Out spare; /* kept between calls, up to MAX_SPARE bytes */
} PlanObject;

/* The resolver may refer to its plan. */
static int plan_traverse(PyObject *self, visitproc visit, void *arg)
{
    const Plan *plan = &((PlanObject *)self)->plan;
    Py_VISIT(Py_TYPE(self));
    Py_VISIT(plan->resolver);
    for (size_t i = 0; plan->bound != NULL && i < plan->rows; i++)
        Py_VISIT(plan->bound[i]);
    for (size_t i = 0; plan->known != NULL && i < plan->rows; i++)
        Py_VISIT(plan->known[i]);
    return 0;
}

static int plan_clear(PyObject *self)
{
    Plan *plan = &((PlanObject *)self)->plan;
    for (size_t i = 0; plan->bound != NULL && i < plan->rows; i++)
        Py_CLEAR(plan->bound[i]);
    for (size_t i = 0; plan->known != NULL && i < plan->rows; i++)
        Py_CLEAR(plan->known[i]);
    Py_CLEAR(plan->resolver);
    return 0;
}

static void plan_dealloc(PyObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    Plan *plan = &((PlanObject *)self)->plan;
    PyObject_GC_UnTrack(self);
    plan_clear(self);
    out_free(&((PlanObject *)self)->spare);
    PyMem_Free(plan->bound);
    PyMem_Free(plan->known);
    PyMem_Free(plan->words);
    PyMem_Free(plan->text);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *plan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    const char *words, *text;
    Py_ssize_t words_size, text_size;
    PyObject *resolver = NULL;
    static char *names[] = {"words", "text", "resolver", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#y#|O:Plan", names, &words, &words_size, &text, &text_size, &resolver))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    PlanObject *self = (PlanObject *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    Plan *plan = &self->plan;
    plan->words_count = (size_t)words_size / 4;
    plan->text_size = (size_t)text_size;
    plan->words = PyMem_Malloc((size_t)words_size + 4);
    plan->text = PyMem_Malloc((size_t)text_size + 1);
    if (plan->words == NULL || plan->text == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    for (size_t i = 0; i < plan->words_count; i++)
        plan->words[i] = little_at((const uint8_t *)words + 4 * i);
    memcpy(plan->text, text, (size_t)text_size);
    if (words_size % 4 || !valid_plan(plan)) {
        plan->rows = 0;
        Py_DECREF(self);
        PyErr_SetString(PyExc_ValueError, "the plan is not valid");
        return NULL;
    }
    plan->bound = PyMem_Calloc(plan->rows + 1, sizeof *plan->bound);
    plan->known = PyMem_Calloc(plan->rows + 1, sizeof *plan->known);
    if (plan->bound == NULL || plan->known == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    plan->resolver = resolver == Py_None ? NULL : Py_XNewRef(resolver);
    return (PyObject *)self;
}

/* The arguments of a function of a payload. */
typedef struct {
    uint32_t row;
    Cursor in;
    const uint8_t *first;
    Py_buffer buffer; /* not of bytes, which need none */
    int released;
} Payload;

static void release(Payload *payload)
{
    if (!payload->released)
        PyBuffer_Release(&payload->buffer);
}

/* Parse (row, data, start=0); the data is data[start:]. To be released if it succeeds. */
static int parse(const Plan *plan, PyObject *const *args, Py_ssize_t count, Payload *payload)
{
    if (count < 2 || count > 3) {
        PyErr_SetString(PyExc_TypeError, "expected a row, bytes, and a position");
        return 0;
    }
    const Py_ssize_t row = PyLong_AsSsize_t(args[0]), start = count == 3 ? PyLong_AsSsize_t(args[2]) : 0;
    Py_ssize_t size;
    if ((row == -1 || start == -1) && PyErr_Occurred())
        return 0;
    payload->released = PyBytes_CheckExact(args[1]);
    if (payload->released) {
        payload->first = (const uint8_t *)PyBytes_AsString(args[1]);
        size = PyBytes_Size(args[1]);
    }
    else {
        if (PyObject_GetBuffer(args[1], &payload->buffer, PyBUF_SIMPLE) < 0)
            return 0;
        payload->first = payload->buffer.buf;
        size = payload->buffer.len;
    }
    if (row < 0 || (size_t)row >= plan->rows || start < 0 || start > size) {
        release(payload);
        PyErr_SetString(PyExc_IndexError, "no such row or position");
        return 0;
    }
    payload->row = (uint32_t)row;
    payload->in = cursor(payload->first + start, payload->first + size);
    return 1;
}

static PyObject *plan_check(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Plan *plan = &((PlanObject *)self)->plan;
    Payload payload;
    int64_t number;
    if (!parse(plan, args, count, &payload))
        return NULL;
    int status = take_value(plan, payload.row, &payload.in, NULL, &number, 0);
    Py_ssize_t end = payload.in.at - payload.first;
    release(&payload);
    if (status)
        Py_RETURN_NONE;
    return PyLong_FromSsize_t(end);
}

static PyObject *plan_json(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    PlanObject *object = (PlanObject *)self;
    Plan *plan = &object->plan;
    Payload payload;
    int64_t number;
    PyObject *json = NULL;
    if (!parse(plan, args, count, &payload))
        return NULL;
    Out out = object->spare; /* no Python code runs until it is back */
    out.size = 0;
    int status = take_value(plan, payload.row, &payload.in, &out, &number, 0);
    if (status == NO_MEMORY)
        PyErr_NoMemory();
    else if (status || payload.in.at != payload.in.end)
        json = Py_NewRef(Py_None);
    else
        json = PyBytes_FromStringAndSize(out.data, (Py_ssize_t)out.size);
    if (out.room > MAX_SPARE)
        out_free(&out);
    object->spare = out;
    release(&payload); /* may be Python code (PEP 688) */
    return json;
}

static PyObject *plan_decode(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Plan *plan = &((PlanObject *)self)->plan;
    Payload payload;
    if (!parse(plan, args, count, &payload))
        return NULL;
    PyObject *value = build_value(plan, payload.row, &payload.in, 0), *end, *result;
    end = value == NULL ? NULL : PyLong_FromSsize_t(payload.in.at - payload.first);
    release(&payload);
    if (value == NULL && !PyErr_Occurred())
        Py_RETURN_NONE;
    if (end == NULL || (result = PyTuple_New(2)) == NULL) {
        Py_XDECREF(value);
        Py_XDECREF(end);
        return NULL;
    }
    PyTuple_SetItem(result, 0, value);
    PyTuple_SetItem(result, 1, end);
    return result;
}

static PyObject *plan_encode(PyObject *self, PyObject *const *args, Py_ssize_t count)
{
    Plan *plan = &((PlanObject *)self)->plan;
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "encode() takes a row and a value");
        return NULL;
    }
    const Py_ssize_t row = PyLong_AsSsize_t(args[0]);
    if (row < 0 || (size_t)row >= plan->rows) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_IndexError, "no such row");
        return NULL;
    }
    Writer to = {plan, {NULL, 0, 0}, (uint64_t)1 << 25}; /* not `spare`: attributes may call back */
    PyObject *data = NULL;
    switch (write_value(&to, (uint32_t)row, args[1], 0)) {
    case OK: data = PyBytes_FromStringAndSize(to.out.data, (Py_ssize_t)to.out.size); break;
    case REFUSED: data = Py_NewRef(Py_None); break;
    case NO_MEMORY: PyErr_NoMemory(); break;
    default: break;
    }
    out_free(&to.out);
    return data;
}

#define FAST(function) (PyCFunction)(void (*)(void))(function)

static PyMethodDef plan_methods[] = {
    {"encode", FAST(plan_encode), METH_FASTCALL,
     "encode(row, value)\n--\n\nReturn the XDR of a value as decoded; None for any other."},
    {"decode", FAST(plan_decode), METH_FASTCALL,
     "decode(row, data, start=0)\n--\n\nReturn a canonical value at a position, and its end; None for any other bytes."},
    {"check", FAST(plan_check), METH_FASTCALL,
     "check(row, data, start=0)\n--\n\nReturn the end of a canonical value at a position; None for any other bytes."},
    {"json", FAST(plan_json), METH_FASTCALL,
     "json(row, data, start=0)\n--\n\nReturn the JSON of a canonical value that ends with the data; None for any other"
     " bytes, and for values that Python writes."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot plan_slots[] = {
    {Py_tp_doc, "Plan(words, text, resolver=None)\n--\n\nTypes for native code. `resolver` returns the class of a row: of a"
                " struct or a union, and the members of an enum by value. Raises ValueError for words that contradict"
                " themselves."},
    {Py_tp_new, plan_new},
    {Py_tp_dealloc, plan_dealloc},
    {Py_tp_traverse, plan_traverse},
    {Py_tp_clear, plan_clear},
    {Py_tp_methods, plan_methods},
    {0, NULL},
};

static PyType_Spec plan_spec = {"libvirt_proto._native.Plan", sizeof(PlanObject), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                plan_slots};

/* ---- lanes: directions of connections in step ---- */

#define MAX_KEY 36
#define MAX_LANES 8192
#define MAX_MESSAGE (33554432u + 4)
#define HEADER_END 28

typedef struct Talk Talk; /* a connection whose calls are paired with their replies */
typedef struct Columns Columns; /* rows of messages */

typedef struct {
    uint8_t key[MAX_KEY];
    uint8_t key_size, direction; /* size 0: free */
    uint32_t hash, next;
    uint64_t packet; /* the last one with bytes of this direction */
    Out pending, conn;
    PyObject *connection; /* for objects */
    Talk *talk; /* NULL without */
    uint64_t batch; /* of rows: the one in which the connection has the code */
    uint32_t code;
} Lane;

/* The part of a header that decides about a line: program, version, procedure, type, status, and the direction. */
#define KIND_KEY 21
#define MAX_KINDS 8192

typedef struct {
    uint64_t words[3];
} KindKey;

/* Parts of a line: text, or a value. */
enum { TEXT, NUMBER, TIME_NS, CLOCK, CONN, LENGTH, SERIAL, PAYLOAD, PACKET, FAULT, DATA, SLOTS };
/* In the line of an exchange also these; values of messages are those of the call, or OF_REPLY. */
enum {
    EXCHANGE = SLOTS, LATENCY, TOOK, OVERTAKEN, OVERTAKEN_TEXT, NAME_TEXT, NAME_JSON, UUID_TEXT,
    ERROR_CODE, ERROR_JSON, EXCHANGE_SLOTS,
    OF_REPLY = 32
};

/* For a step of a check: the row, and the size, the limit, or the depth. */
typedef struct {
    uint32_t slot, text, length;
} Part;

typedef struct {
    KindKey key;
    uint8_t failed, shows_payload;
    uint32_t row; /* NONE: no payload; ANY: bytes without a type */
    uint32_t first, count, checks; /* parts of the line; after them, steps of the check */
    PyObject *fields; /* for objects: program, version, procedure, type, status, name of the payload's type */
    uint32_t exchange_first, exchange_count; /* of a reply: parts of the line of its exchange */
    uint8_t exchange_known, routine;
} Kind;

/* A message that is being read, or kept. */
typedef struct {
    const Kind *kind;
    const uint8_t *frame;
    uint32_t length;
    int64_t time_ns;
    uint64_t n, packet;
} Said;

typedef struct {
    PyObject_HEAD
    PyObject *plan_object;
    Plan *plan;
    Lane *lanes;
    uint32_t lane_count; /* that were ever open */
    uint16_t *free_lanes, free_count, *lane_slots; /* twice MAX_LANES slots: number + 1 */
    Kind *kinds;
    uint16_t kind_count, *kind_slots; /* twice MAX_KINDS slots: number + 1 */
    Part *parts;
    size_t part_count, part_room;
    Out text, out; /* parts of lines; lines */
    int64_t start_ns, last_ns, last_data_ns; /* of a scan's last packet, and of the last one with data */
    uint64_t messages, shown, failures, packets;
    uint32_t fault_names; /* place of the table of error codes; 0: none */
    /* For objects: classes of messages, the two directions, (), and what was found. */
    PyObject *captured, *message, *header, *directions[2], *empty, *found;
    uint64_t held; /* bytes of the messages found */
    int has_data; /* a scan has seen a packet with data */
    int busy; /* in a scan, which calls Python code */
    /* For exchanges: calls that wait for replies, exchanges so far, messages in their lines, and their keys. */
    int pairing;
    uint32_t calls;
    size_t call_bytes;
    uint64_t exchanges, presented;
    Out closed;
    /* For routine exchanges: whether there are such kinds, rows and frames of a scan, the connections of the rows, and
     * the last message if it is a call that may begin another row: its lane (NULL: it is none), and its place. */
    int routine;
    Out rows, frames;
    PyObject *connections;
    Said call;
    const Lane *call_lane;
    size_t call_frame;
    Columns *columns; /* for rows; else NULL */
} Scanner;

static inline uint64_t mixed(uint64_t state, uint64_t word)
{
    state = (state ^ word) * 0x9E3779B97F4A7C15u;
    return state ^ state >> 32;
}

/* IPv4 or IPv6: other sizes must not be hashed. */
static int is_key(Py_ssize_t size) { return size == 12 || size == 36; }

static inline uint32_t lane_hash(const Scanner *self, const uint8_t *key, size_t size)
{
    uint64_t state = (uintptr_t)self, word;
    uint32_t rest;
    for (; size >= sizeof word; key += sizeof word, size -= sizeof word) {
        memcpy(&word, key, sizeof word);
        state = mixed(state, word);
    }
    memcpy(&rest, key, sizeof rest);
    return (uint32_t)mixed(state, rest);
}

/* The slot of a lane, or the free one where it belongs. */
static inline uint32_t lane_slot(const Scanner *self, const uint8_t *key, size_t size, uint32_t hash)
{
    uint32_t at = hash % (2 * MAX_LANES);
    for (; self->lane_slots[at]; at = (at + 1) % (2 * MAX_LANES)) {
        const Lane *lane = self->lanes + self->lane_slots[at] - 1;
        if (lane->hash == hash && lane->key_size == size && memcmp(lane->key, key, size) == 0)
            break;
    }
    return at;
}

static inline Lane *find_lane(const Scanner *self, const uint8_t *key, size_t size)
{
    const uint32_t at = lane_slot(self, key, size, lane_hash(self, key, size));
    return self->lane_slots[at] ? self->lanes + self->lane_slots[at] - 1 : NULL;
}

/* Free a slot, and move the later ones that would no longer be found. */
static void free_slot(Scanner *self, uint32_t at)
{
    const uint32_t mask = 2 * MAX_LANES - 1;
    for (uint32_t next = (at + 1) & mask; self->lane_slots[next]; next = (next + 1) & mask) {
        const uint32_t home = self->lanes[self->lane_slots[next] - 1].hash & mask;
        if (((next - home) & mask) >= ((next - at) & mask)) {
            self->lane_slots[at] = self->lane_slots[next];
            at = next;
        }
    }
    self->lane_slots[at] = 0;
}

static inline KindKey kind_key(const uint8_t *head, const uint8_t *status, uint8_t direction)
{
    KindKey key;
    memcpy(key.words, head, 16);
    key.words[2] = (uint64_t)word_at(status) << 8 | direction;
    return key;
}

static inline uint32_t kind_slot(const Scanner *self, const KindKey *key)
{
    uint64_t state = mixed(mixed(mixed((uintptr_t)self, key->words[0]), key->words[1]), key->words[2]);
    uint32_t at = (uint32_t)state % (2 * MAX_KINDS);
    for (; self->kind_slots[at]; at = (at + 1) % (2 * MAX_KINDS)) {
        const uint64_t *words = self->kinds[self->kind_slots[at] - 1].key.words;
        if (words[0] == key->words[0] && words[1] == key->words[1] && words[2] == key->words[2])
            break;
    }
    return at;
}

static inline const Kind *kind_of(const Scanner *self, const uint8_t *frame, uint8_t direction)
{
    const KindKey key = kind_key(frame + 4, frame + 24, direction);
    const uint16_t number = self->kind_slots[kind_slot(self, &key)];
    return number ? self->kinds + number - 1 : NULL;
}

/* ---- checks of payloads that a line does not show ---- */

/* Steps: bytes that may have any value; bytes after their number, with padding; any other value. */
enum { SKIP = SLOTS, SIZED, VALUE };
#define MAX_STEPS 24
#define MAX_STEP_ROWS 256
#define MAX_STEP_DEPTH 8

typedef struct {
    const Plan *plan;
    Part *at;
    uint32_t count, rows;
} Steps;

static int add_step(Steps *to, uint32_t slot, uint32_t row, uint32_t length)
{
    Part *last = to->count ? to->at + to->count - 1 : NULL;
    if (slot == SKIP && last && last->slot == SKIP && length <= MAX_MESSAGE - last->length) {
        last->length += length;
        return OK;
    }
    if (to->count == MAX_STEPS)
        return REFUSED;
    to->at[to->count++] = (Part){slot, row, length};
    return OK;
}

/* Add the steps that check a value as take_value does; REFUSED if they are too many. */
static int add_steps(Steps *to, uint32_t at, int depth)
{
    const Row *row = row_of(to->plan, at);
    int status = OK;
    if (to->rows++ == MAX_STEP_ROWS)
        return REFUSED;
    switch (row->kind) {
    case VOID_: return OK;
    case INT: case UINT: case ENUM: return add_step(to, SKIP, 0, 4);
    case HYPER: case UHYPER: case DOUBLE: return add_step(to, SKIP, 0, 8);
    case UUID: return add_step(to, SKIP, 0, 16);
    case OPAQUE: case STRING: return add_step(to, SIZED, 0, row->limit);
    case STRUCT:
        if (depth == MAX_STEP_DEPTH)
            break;
        for (uint32_t i = 0; !status && i < row->count; i++)
            status = add_steps(to, entry_of(to->plan, row->entries, i)->row, depth + 1);
        return status;
    default: break;
    }
    return add_step(to, VALUE, at, (uint32_t)depth);
}

/* The steps of a row: one for all of it if others are too many. */
static uint32_t steps_of(const Plan *plan, uint32_t row, Part *steps)
{
    Steps to = {plan, steps, 0, 0};
    if (add_steps(&to, row, 0) == OK)
        return to.count;
    steps[0] = (Part){VALUE, row, 0};
    return 1;
}

static int check_steps(const Scanner *self, const Kind *kind, Cursor *in)
{
    const Part *step = self->parts + kind->first + kind->count, *end = step + kind->checks;
    const uint8_t *data;
    uint32_t size;
    int64_t number;
    for (; step < end; step++)
        switch (step->slot) {
        case SKIP:
            if (left(in) < step->length)
                return REFUSED;
            in->at += step->length;
            break;
        case SIZED:
            if (take_word(in, &size) || size > step->length || take_padded(in, size, &data))
                return REFUSED;
            break;
        default:
            if (take_value(self->plan, step->text, in, NULL, &number, (int)step->length))
                return REFUSED;
        }
    return OK;
}

/* ---- lines ---- */

/* Seconds since the beginning with three decimals, in seven columns, and a space: presenters/clock.py. */
static int put_clock(Out *out, int64_t since_ns)
{
    char text[32];
    size_t at = sizeof text;
    if (since_ns < 0)
        return REFUSED;
    uint64_t ms = (uint64_t)since_ns / 1000000, whole = ms / 1000;
    text[--at] = ' ';
    for (int i = 0; i < 3; i++, ms /= 10)
        text[--at] = (char)('0' + ms % 10);
    text[--at] = '.';
    do {
        text[--at] = (char)('0' + whole % 10);
        whole /= 10;
    } while (whole);
    while (sizeof text - at < 8)
        text[--at] = ' ';
    return put(out, text + at, sizeof text - at);
}

/* ` error="NAME: message"` of a virNetMessageError with a plain message: presenters/monitor.py. */
static int put_fault(const Scanner *self, Out *out, const uint8_t *payload, const uint8_t *end)
{
    const Plan *plan = self->plan;
    const uint32_t *names = plan->words + self->fault_names;
    Cursor in = cursor(payload, end);
    uint32_t code, domain, present, size;
    const uint8_t *text;
    int status;
    if (take_word(&in, &code) || take_word(&in, &domain) || take_word(&in, &present) || present > 1)
        return REFUSED;
    const uint32_t *name = find_name(plan, names, 0, (int32_t)code);
    if (name == NULL || name[1] < 2) /* in quotes, as in JSON */
        return REFUSED;
    if ((status = put(out, " error=\"", 8)) || (status = put_text(out, plan, name[0] + 1, name[1] - 2)))
        return status;
    if (present) {
        if (take_word(&in, &size) || take_padded(&in, size, &text) || (status = put(out, ": ", 2)))
            return status ? status : REFUSED;
        for (const uint8_t *at = text; at < text + size; at++) {
            if (*at < 0x20 || *at > 0x7E)
                return REFUSED;
            if ((*at == '"' || *at == '\\') && (status = put(out, "\\", 1)))
                return status;
            if ((status = put(out, at, 1)))
                return status;
        }
    }
    return put(out, "\"", 1);
}

static int put_line(Scanner *self, const Lane *lane, const Kind *kind, const uint8_t *frame, uint32_t length,
                    int64_t time_ns, uint64_t packet)
{
    Out *out = &self->out;
    int64_t number;
    int status = OK;
    Cursor in = cursor(frame + HEADER_END, frame + length);
    if (!kind->shows_payload && (status = check_steps(self, kind, &in)))
        return status;
    for (uint32_t i = 0; i < kind->count; i++) {
        const Part *part = self->parts + kind->first + i;
        switch (part->slot) {
        case TEXT: status = put(out, self->text.data + part->text, part->length); break;
        case NUMBER: status = put_unsigned(out, self->messages + 1); break;
        case TIME_NS: status = put_signed(out, time_ns); break;
        case CLOCK:
            status = __builtin_sub_overflow(time_ns, self->start_ns, &number) ? REFUSED : put_clock(out, number);
            break;
        case CONN: status = put(out, lane->conn.data, lane->conn.size); break;
        case LENGTH: status = put_unsigned(out, length); break;
        case SERIAL: status = put_unsigned(out, word_at(frame + 20)); break;
        case PACKET: status = put_unsigned(out, packet); break;
        case FAULT: status = put_fault(self, out, frame + HEADER_END, frame + length); break;
        case DATA: status = put_base64(out, frame + HEADER_END, length - HEADER_END); break;
        default: /* PAYLOAD */
            status = kind->shows_payload ? take_value(self->plan, kind->row, &in, out, &number, 0) : put(out, "null", 4);
        }
        if (status)
            return status;
    }
    if (in.at != in.end && kind->row != ANY)
        return REFUSED;
    self->messages++;
    self->shown += kind->count > 0;
    self->failures += kind->failed;
    return OK;
}

/* ---- rows of messages ---- */

/* Columns as Arrow lays them out: values in the machine's byte order, bits of those that are there, ends of texts.
 * Their order is that of ROW in libvirt_proto/tables/rows.py. A batch is full with this many rows or bytes of texts,
 * which the messages of a packet may exceed. */
#define MAX_ROWS 65536
#define MAX_ROW_BYTES ((size_t)16 << 20)
enum {
    C_NUMBER, C_TIME, C_PACKET, C_MISSING, WIDE_COLUMNS, /* eight bytes; the next ones have four */
    C_CONN = WIDE_COLUMNS, C_LENGTH, C_SERIAL, C_FDS, C_CODE,
    KIND_COLUMNS, /* from here on, the kind of a message determines the value */
    TEXT_COLUMNS = KIND_COLUMNS + 9,
    C_PAYLOAD = TEXT_COLUMNS, C_DATA, C_PROBLEM, C_ERROR, COLUMNS
};
#define TEXTS (COLUMNS - TEXT_COLUMNS)

struct Columns {
    PyObject_HEAD
    uint8_t *values[TEXT_COLUMNS];
    uint8_t *valid[COLUMNS]; /* a bit for each row */
    uint8_t has_null[COLUMNS];
    int32_t *ends[TEXTS]; /* one more than rows */
    Out texts[TEXTS];
    size_t rows, room;
    size_t usual, usual_texts[TEXTS]; /* room of the last batch */
    PyObject *conns; /* name of a connection -> its code in this batch */
    uint64_t batch;  /* from 1 */
    PyObject *memory; /* the class of what a batch is taken in */
};

static int columns_grow(Columns *to)
{
    const size_t room = to->room ? 2 * to->room : to->usual;
    for (size_t i = 0; i < COLUMNS; i++) {
        uint8_t *valid = PyMem_Realloc(to->valid[i], room / 8);
        if (valid == NULL)
            return NO_MEMORY;
        to->valid[i] = valid;
    }
    for (size_t i = 0; i < TEXT_COLUMNS; i++) {
        uint8_t *values = PyMem_Realloc(to->values[i], room * (i < WIDE_COLUMNS ? 8 : 4));
        if (values == NULL)
            return NO_MEMORY;
        to->values[i] = values;
    }
    for (size_t i = 0; i < TEXTS; i++) {
        int32_t *ends = PyMem_Realloc(to->ends[i], (room + 1) * sizeof *ends);
        if (ends == NULL)
            return NO_MEMORY;
        to->ends[i] = ends;
        ends[0] = 0;
        if (!to->room && out_room(&to->texts[i], to->usual_texts[i]))
            return NO_MEMORY;
    }
    to->room = room;
    return OK;
}

static inline int columns_room(Columns *to) { return to->rows < to->room ? OK : columns_grow(to); }

static int columns_full(const Columns *of)
{
    size_t size = 0;
    for (size_t i = 0; i < TEXTS; i++)
        size += of->texts[i].size;
    return of->rows >= MAX_ROWS || size >= MAX_ROW_BYTES;
}

/* Drop the rows from a number on, and texts of a row that is not complete. */
static void columns_back_to(Columns *to, size_t rows)
{
    to->rows = rows;
    for (size_t i = 0; i < TEXTS; i++)
        to->texts[i].size = to->ends[i] ? (size_t)to->ends[i][rows] : 0;
}

static inline void set_valid(Columns *to, size_t column, int valid)
{
    uint8_t *bits = to->valid[column] + to->rows / 8;
    const uint8_t bit = (uint8_t)(1 << to->rows % 8);
    *bits = valid ? *bits | bit : *bits & (uint8_t)~bit;
    to->has_null[column] |= !valid;
}

static inline void set_wide(Columns *to, size_t column, int64_t value)
{
    memcpy(to->values[column] + to->rows * sizeof value, &value, sizeof value);
    set_valid(to, column, 1);
}

/* A value of four bytes, or null. */
static inline void set_word(Columns *to, size_t column, uint32_t value, int valid)
{
    memcpy(to->values[column] + to->rows * sizeof value, &value, sizeof value);
    set_valid(to, column, valid);
}

/* The end of the text that was written for a row, or null. */
static inline void end_text(Columns *to, size_t column, int valid)
{
    const size_t text = column - TEXT_COLUMNS;
    to->ends[text][to->rows + 1] = (int32_t)to->texts[text].size;
    set_valid(to, column, valid);
}

/* The code of a connection in this batch, by its name. */
static int code_of(Columns *to, PyObject *name, uint32_t *code)
{
    PyObject *known = PyDict_GetItemWithError(to->conns, name);
    if (known == NULL) {
        if (PyErr_Occurred())
            return RAISED;
        *code = (uint32_t)PyDict_Size(to->conns);
        PyObject *number = PyLong_FromUnsignedLong(*code);
        const int status = number == NULL || PyDict_SetItem(to->conns, name, number) < 0 ? RAISED : OK;
        Py_XDECREF(number);
        return status;
    }
    *code = (uint32_t)PyLong_AsUnsignedLong(known);
    return OK;
}

static inline int code_of_lane(Columns *to, Lane *lane)
{
    if (lane->batch == to->batch)
        return OK;
    PyObject *name = PyUnicode_DecodeUTF8(lane->conn.data ? lane->conn.data : "", (Py_ssize_t)lane->conn.size, NULL);
    const int status = name == NULL ? RAISED : code_of(to, name, &lane->code);
    Py_XDECREF(name);
    if (status == OK)
        lane->batch = to->batch;
    return status;
}

/* Code and message of a virNetMessageError, whose payload is valid: rpc/reported.py. The text is NULL without one. */
static int take_reported(const uint8_t *payload, const uint8_t *end, uint32_t *code, const uint8_t **text, uint32_t *size)
{
    Cursor in = cursor(payload, end);
    uint32_t domain, present;
    *text = NULL;
    if (take_word(&in, code) || take_word(&in, &domain) || take_word(&in, &present) || present > 1)
        return REFUSED;
    return present && (take_word(&in, size) || take_padded(&in, *size, text)) ? REFUSED : OK;
}

/* The same in a row; refused if it is not UTF-8. */
static int put_reported(Columns *to, const uint8_t *payload, const uint8_t *end)
{
    uint32_t code, size = 0;
    const uint8_t *text;
    size_t sequence;
    if (take_reported(payload, end, &code, &text, &size))
        return REFUSED;
    set_word(to, C_CODE, code, 1);
    set_valid(to, C_ERROR, text != NULL);
    if (text == NULL)
        return OK;
    for (const uint8_t *at = text; at < text + size; at += sequence)
        if (!(sequence = *at < 0x80 ? 1 : utf8_size(at, text + size)))
            return REFUSED;
    return put(&to->texts[C_ERROR - TEXT_COLUMNS], text, size);
}

/* The code, or the message as JSON, of an error in the line of an exchange. */
static int put_error(Out *out, uint32_t slot, const uint8_t *payload, const uint8_t *end)
{
    uint32_t code, size = 0;
    const uint8_t *text;
    if (take_reported(payload, end, &code, &text, &size))
        return REFUSED;
    if (slot == ERROR_CODE)
        return put_signed(out, (int32_t)code);
    return text ? put_string(out, text, size) : put(out, "null", 4);
}

/* The texts of a row: payload or data, and the error that a message reports. */
static int put_texts(const Scanner *self, Columns *to, const Kind *kind, Cursor *in)
{
    Out *payload = &to->texts[C_PAYLOAD - TEXT_COLUMNS];
    const size_t before = payload->size;
    int64_t number;
    int status = OK;
    if (kind->row == ANY) {
        status = put(&to->texts[C_DATA - TEXT_COLUMNS], in->at, left(in));
        in->at = in->end;
    }
    else if (kind->row != NONE) {
        const uint8_t *first = in->at;
        status = take_value(self->plan, kind->row, in, payload, &number, 0);
        if (!status && kind->failed)
            status = put_reported(to, first, in->end);
    }
    if (payload->size - before == 4 && memcmp(payload->data + before, "null", 4) == 0)
        payload->size = before; /* no value, as in Python */
    set_valid(to, C_PAYLOAD, payload->size > before);
    return status ? status : in->at == in->end ? OK : REFUSED;
}

/* The row of a message. */
static int put_row(Scanner *self, Lane *lane, const Kind *kind, const uint8_t *frame, uint32_t length, int64_t time_ns,
                   uint64_t packet)
{
    Columns *to = self->columns;
    Cursor in = cursor(frame + HEADER_END, frame + length);
    int status;
    if (kind->count) {
        if ((status = columns_room(to)) || (status = code_of_lane(to, lane)))
            return status;
        set_word(to, C_CODE, 0, 0);
        set_valid(to, C_ERROR, 0);
        if ((status = put_texts(self, to, kind, &in))) {
            columns_back_to(to, to->rows);
            return status;
        }
        set_wide(to, C_NUMBER, (int64_t)self->messages + 1);
        set_wide(to, C_TIME, time_ns);
        set_wide(to, C_PACKET, (int64_t)packet);
        set_wide(to, C_MISSING, 0);
        set_word(to, C_CONN, lane->code, 1);
        set_word(to, C_LENGTH, length, 1);
        set_word(to, C_SERIAL, word_at(frame + 20), 1);
        set_word(to, C_FDS, 0, 0);
        const Part *codes = self->parts + kind->first;
        for (size_t i = 0; i < TEXT_COLUMNS - KIND_COLUMNS; i++)
            set_word(to, KIND_COLUMNS + i, codes[i].text, codes[i].length != 0);
        set_valid(to, C_DATA, kind->row == ANY);
        set_valid(to, C_PROBLEM, 0);
        for (size_t i = 0; i < TEXTS; i++)
            to->ends[i][to->rows + 1] = (int32_t)to->texts[i].size;
        to->rows++;
    }
    else {
        if ((status = check_steps(self, kind, &in)))
            return status;
        if (in.at != in.end && kind->row != ANY)
            return REFUSED;
    }
    self->messages++;
    self->shown += kind->count > 0;
    self->failures += kind->failed;
    return OK;
}

/* Values that a kind of messages has in common, as parts: text is the value, length 0 for null. */
static int add_codes(Scanner *self, PyObject *codes, Py_ssize_t count)
{
    if (count && count != TEXT_COLUMNS - KIND_COLUMNS) {
        PyErr_SetString(PyExc_ValueError, "expected the values of a kind");
        return 0;
    }
    for (Py_ssize_t i = 0; i < count; i++) {
        PyObject *code = PyTuple_GetItem(codes, i);
        Part *part = self->parts + self->part_count + i;
        *part = (Part){TEXT, 0, code != Py_None};
        if (part->length && (part->text = (uint32_t)PyLong_AsUnsignedLongMask(code)) == UINT32_MAX && PyErr_Occurred())
            return 0;
    }
    self->part_count += (size_t)count;
    return 1;
}

/* ---- rows as Python objects ---- */

/* Memory of a batch, which its arrays share. */
typedef struct {
    PyObject_HEAD
    void *data;
    Py_ssize_t size;
} Memory;

static int memory_buffer(PyObject *object, Py_buffer *view, int flags)
{
    const Memory *self = (const Memory *)object;
    return PyBuffer_FillInfo(view, object, self->data ? self->data : (void *)HEX, self->size, 1, flags); /* not NULL */
}

static void memory_dealloc(PyObject *object)
{
    PyTypeObject *type = Py_TYPE(object);
    PyMem_Free(((Memory *)object)->data);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static PyType_Slot memory_slots[] = {
    {Py_tp_doc, "Memory of a batch of rows."},
    {Py_tp_dealloc, memory_dealloc},
    {Py_bf_getbuffer, memory_buffer},
    {0, NULL},
};

static PyType_Spec memory_spec = {"libvirt_proto._native.Memory", sizeof(Memory), 0,
                                  Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION, memory_slots};

/* A Memory of the first bytes of an array, which it owns from then on. */
static PyObject *memory_of(const Columns *of, void *array, size_t size)
{
    PyTypeObject *type = (PyTypeObject *)of->memory;
    Memory *self = (Memory *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
    if (self == NULL)
        return NULL;
    void **place = array;
    self->data = *place;
    self->size = (Py_ssize_t)size;
    *place = NULL;
    return (PyObject *)self;
}

static PyObject *columns_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, ":Columns", names))
        return NULL;
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Columns *self = (Columns *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    self->batch = 1;
    self->usual = 1024;
    PyObject *module = PyType_GetModule(type);
    self->memory = module == NULL ? NULL : PyObject_GetAttrString(module, "Memory");
    if (self->memory == NULL || (self->conns = PyDict_New()) == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    if (!PyType_Check(self->memory) ||
        PyType_GetSlot((PyTypeObject *)self->memory, Py_tp_dealloc) != (void *)memory_dealloc) {
        Py_DECREF(self);
        PyErr_SetString(PyExc_TypeError, "the module has another Memory");
        return NULL;
    }
    return (PyObject *)self;
}

/* Free the arrays that are there. */
static void columns_free(Columns *of)
{
    for (size_t i = 0; i < COLUMNS; i++)
        PyMem_Free(of->valid[i]);
    for (size_t i = 0; i < TEXT_COLUMNS; i++)
        PyMem_Free(of->values[i]);
    for (size_t i = 0; i < TEXTS; i++) {
        PyMem_Free(of->ends[i]);
        out_free(&of->texts[i]);
    }
}

static void columns_dealloc(PyObject *object)
{
    Columns *self = (Columns *)object;
    PyTypeObject *type = Py_TYPE(object);
    columns_free(self);
    Py_XDECREF(self->conns);
    Py_XDECREF(self->memory);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
    Py_DECREF(type);
}

static Py_ssize_t columns_length(PyObject *object) { return (Py_ssize_t)((Columns *)object)->rows; }

/* A text of any size that the ends of texts can have. */
static int put_large(Out *out, const char *data, Py_ssize_t size)
{
    if ((size_t)size > (size_t)INT32_MAX - out->size)
        return REFUSED;
    if ((size_t)size > out->room - out->size) {
        size_t room = out->size + (size_t)size;
        room += room / 2;
        char *grown = PyMem_Realloc(out->data, room);
        if (grown == NULL)
            return NO_MEMORY;
        out->data = grown;
        out->room = room;
    }
    return put(out, data, (size_t)size);
}

/* A value of a row that Python has made. */
static int append_value(Columns *to, size_t column, PyObject *value)
{
    const int valid = value != Py_None;
    int64_t number = 0;
    int status = OK;
    if (column >= TEXT_COLUMNS) {
        const char *data = NULL;
        Py_ssize_t size = 0;
        if (valid && PyBytes_Check(value)) {
            data = PyBytes_AsString(value);
            size = PyBytes_Size(value);
        }
        else if (valid && (!PyUnicode_CheckExact(value) || (data = PyUnicode_AsUTF8AndSize(value, &size)) == NULL))
            return REFUSED;
        if (valid && (status = put_large(&to->texts[column - TEXT_COLUMNS], data, size)))
            return status;
        end_text(to, column, valid);
        return OK;
    }
    if (column == C_CONN) {
        uint32_t code;
        if (!PyUnicode_CheckExact(value)) /* another class could run Python code in a look-up */
            return REFUSED;
        if ((status = code_of(to, value, &code)))
            return status;
        set_word(to, column, code, 1);
        return OK;
    }
    if (valid && (!PyLong_Check(value) || integer_of(value, INT64_MIN, INT64_MAX, &number)))
        return REFUSED;
    if (column < WIDE_COLUMNS) {
        set_wide(to, column, number);
        set_valid(to, column, valid);
        return OK;
    }
    if (number < INT32_MIN || number > UINT32_MAX)
        return REFUSED;
    set_word(to, column, (uint32_t)number, valid);
    return OK;
}

static PyObject *columns_append(PyObject *object, PyObject *row)
{
    Columns *self = (Columns *)object;
    if (!PyTuple_Check(row) || PyTuple_Size(row) != COLUMNS) {
        PyErr_SetString(PyExc_TypeError, "expected a tuple with the values of a row");
        return NULL;
    }
    int status = columns_room(self);
    for (size_t i = 0; !status && i < COLUMNS; i++)
        status = append_value(self, i, PyTuple_GetItem(row, (Py_ssize_t)i));
    if (status == OK) {
        self->rows++;
        Py_RETURN_NONE;
    }
    columns_back_to(self, self->rows);
    if (status == NO_MEMORY)
        return PyErr_NoMemory();
    if (!PyErr_Occurred())
        PyErr_SetString(PyExc_ValueError, "a value of a row is out of range");
    return NULL;
}

static PyObject *columns_is_full(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(columns_full((const Columns *)object));
}

/* (bits or None, values) of a column, or (bits or None, ends, texts). */
static PyObject *column_of(Columns *of, size_t column)
{
    const size_t rows = of->rows, text = column - TEXT_COLUMNS;
    PyObject *valid = of->has_null[column] ? memory_of(of, &of->valid[column], (rows + 7) / 8) : Py_NewRef(Py_None);
    if (valid == NULL)
        return NULL;
    if (column < TEXT_COLUMNS)
        return Py_BuildValue("(NN)", valid,
                             memory_of(of, &of->values[column], rows * (column < WIDE_COLUMNS ? 8 : 4)));
    Out *out = &of->texts[text];
    const size_t size = out->size;
    out->size = out->room = 0;
    return Py_BuildValue("(NNN)", valid, memory_of(of, &of->ends[text], (rows + 1) * sizeof(int32_t)),
                         memory_of(of, &out->data, size));
}

static PyObject *columns_take(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Columns *self = (Columns *)object;
    PyObject *conns = PyDict_New(), *columns = NULL, *result = NULL;
    if (conns == NULL)
        return NULL;
    if (columns_room(self)) { /* arrays that are there */
        Py_DECREF(conns);
        return PyErr_NoMemory();
    }
    Columns taken = *self; /* making objects may run Python code, which finds a new batch */
    memset(self->values, 0, sizeof self->values);
    memset(self->valid, 0, sizeof self->valid);
    memset(self->has_null, 0, sizeof self->has_null);
    memset(self->ends, 0, sizeof self->ends);
    memset(self->texts, 0, sizeof self->texts);
    self->rows = self->room = 0;
    self->usual = taken.room;
    for (size_t i = 0; i < TEXTS; i++) /* a large message was unusual */
        self->usual_texts[i] = taken.texts[i].room < 2 * MAX_ROW_BYTES ? taken.texts[i].room : 0;
    self->conns = conns;
    self->batch++;
    columns = PyTuple_New(COLUMNS);
    for (size_t i = 0; columns != NULL && i < COLUMNS; i++) {
        PyObject *column = column_of(&taken, i);
        if (column == NULL || PyTuple_SetItem(columns, (Py_ssize_t)i, column) < 0)
            Py_CLEAR(columns);
    }
    if (columns != NULL)
        result = Py_BuildValue("(nNO)", (Py_ssize_t)taken.rows, columns, taken.conns);
    columns_free(&taken);
    Py_DECREF(taken.conns);
    return result;
}

static PyMethodDef columns_methods[] = {
    {"append", columns_append, METH_O,
     "append(row)\n--\n\nAdd a row: integers, the name of the connection, and texts; None is null."},
    {"is_full", columns_is_full, METH_NOARGS, "is_full()\n--\n\nReturn whether the batch should be taken."},
    {"take", columns_take, METH_NOARGS,
     "take()\n--\n\nReturn the rows, and begin a new batch: (number, columns, name of a connection -> its code). A column"
     " has bits of the values that are there, or None for all; and values, or ends of texts and texts."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot columns_slots[] = {
    {Py_tp_doc, "Columns()\n--\n\nRows of messages, in batches."},
    {Py_tp_new, columns_new},
    {Py_tp_dealloc, columns_dealloc},
    {Py_sq_length, columns_length},
    {Py_tp_methods, columns_methods},
    {0, NULL},
};

static PyType_Spec columns_spec = {"libvirt_proto._native.Columns", sizeof(Columns), 0, Py_TPFLAGS_DEFAULT, columns_slots};

/* ---- objects of messages ---- */

/* A Header (rpc/message.py). */
static PyObject *new_header(const Scanner *self, const Kind *kind, uint32_t serial)
{
    PyObject *number = PyLong_FromUnsignedLong(serial), *header, *fields[5];
    if (number == NULL)
        return NULL;
    for (Py_ssize_t i = 0; i < 5; i++)
        fields[i] = PyTuple_GetItem(kind->fields, i);
    header = PyObject_CallFunctionObjArgs(self->header, fields[0], fields[1], fields[2], fields[3], number, fields[4],
                                          NULL);
    Py_DECREF(number);
    return header;
}

/* A Message (rpc/message.py); takes the reference to the payload. */
static PyObject *new_message(const Scanner *self, const Kind *kind, const uint8_t *frame, uint32_t length, PyObject *payload)
{
    PyObject *header = new_header(self, kind, word_at(frame + 20)), *message = NULL;
    PyObject *number = header == NULL ? NULL : PyLong_FromUnsignedLong(length);
    const int typed = kind->row != ANY;
    if (number != NULL)
        message = PyObject_CallFunctionObjArgs(self->message, header, number, Py_None, PyTuple_GetItem(kind->fields, 5),
                                               typed ? payload : Py_None, typed ? NULL : payload, NULL);
    Py_XDECREF(header);
    Py_XDECREF(number);
    Py_DECREF(payload);
    return message;
}

/* A Captured (events.py) with its message, of a payload whose reference it takes. */
static PyObject *new_captured(const Scanner *self, const Lane *lane, const Kind *kind, const uint8_t *frame,
                              uint32_t length, int64_t time_ns, uint64_t packet, PyObject *payload)
{
    PyObject *message = new_message(self, kind, frame, length, payload), *captured = NULL;
    if (message == NULL)
        return NULL;
    PyObject *number = PyLong_FromUnsignedLongLong(self->messages + 1), *time = PyLong_FromLongLong(time_ns),
             *at = PyLong_FromUnsignedLongLong(packet);
    if (number != NULL && time != NULL && at != NULL)
        captured = PyObject_CallFunctionObjArgs(self->captured, number, time, lane->connection,
                                                self->directions[lane->direction], message, self->empty, at, NULL);
    Py_DECREF(message);
    Py_XDECREF(number);
    Py_XDECREF(time);
    Py_XDECREF(at);
    return captured;
}

/* The object of a message, added to what was found. */
static int put_object(Scanner *self, const Lane *lane, const Kind *kind, const uint8_t *frame, uint32_t length,
                      int64_t time_ns, uint64_t packet)
{
    Cursor in = cursor(frame + HEADER_END, frame + length);
    if (kind->fields == NULL || (kind->row == NONE && length != HEADER_END))
        return REFUSED;
    PyObject *payload;
    if (kind->row == ANY) {
        payload = PyBytes_FromStringAndSize((const char *)in.at, in.end - in.at);
        in.at = in.end;
    }
    else
        payload = kind->row == NONE ? Py_NewRef(Py_None) : build_value(self->plan, kind->row, &in, 0);
    if (payload == NULL)
        return PyErr_Occurred() ? RAISED : REFUSED;
    if (in.at != in.end) {
        Py_DECREF(payload);
        return REFUSED;
    }
    PyObject *captured = new_captured(self, lane, kind, frame, length, time_ns, packet, payload);
    const int status = captured != NULL && PyList_Append(self->found, captured) == 0 ? OK : RAISED;
    Py_XDECREF(captured);
    if (status == OK) {
        self->messages++;
        self->shown++;
        self->failures += kind->failed;
        self->held += length;
    }
    return status;
}

/* ---- calls and replies ---- */

/* A connection whose calls are paired with their replies: what is waiting, in the order of the calls. What was open
 * before remains Python's, which also gets the rest back as it would be there (session.py). */
#define MAX_WAITING 64
/* Of all connections: session.py relies on these. */
#define MAX_CALLS 4096
#define MAX_CALL_BYTES ((size_t)16 << 20)
#define KEEPALIVE 0x6B656570u
/* Program, version and serial of an exchange. */
#define EXCHANGE_KEY 12

typedef struct {
    uint8_t key[EXCHANGE_KEY];
    uint8_t over; /* perhaps */
} Other;

typedef struct {
    Said said;
    uint8_t *frame; /* a copy */
    uint32_t position; /* among all calls of the connection */
    int gone; /* answered, in the packet that is being read */
} Call;

struct Talk {
    Lane *lanes[2];
    uint32_t id, waiting, room, sent, lowest;
    uint32_t known_sent, known_waiting; /* what Python knows */
    int given_back; /* in the packet that is being read */
    uint64_t last; /* number of the last call or reply */
    Call *calls;
    uint32_t others_count; /* exchanges that Python has */
    Other *others;
};

static void drop_call(Scanner *self, Call *call)
{
    PyMem_Free(call->frame);
    self->calls--;
    self->call_bytes -= call->said.length;
}

static void end_talk(Scanner *self, Talk *talk)
{
    if (talk == NULL)
        return;
    for (uint32_t i = 0; i < talk->waiting; i++)
        drop_call(self, talk->calls + i);
    talk->lanes[0]->talk = talk->lanes[1]->talk = NULL;
    PyMem_Free(talk->calls);
    PyMem_Free(talk->others);
    PyMem_Free(talk);
}

/* (connection, calls sent, lowest serial, last message, ((n, time, packet, position, frame), ...)). */
static PyObject *calls_of(const Talk *talk)
{
    PyObject *calls = PyList_New(0);
    for (uint32_t i = 0; calls != NULL && i < talk->waiting; i++) {
        const Call *call = talk->calls + i;
        if (call->gone)
            continue;
        PyObject *each = Py_BuildValue("(KLKIy#)", (unsigned long long)call->said.n, (long long)call->said.time_ns,
                                       (unsigned long long)call->said.packet, call->position, call->frame,
                                       (Py_ssize_t)call->said.length);
        if (each == NULL || PyList_Append(calls, each) < 0)
            Py_CLEAR(calls);
        Py_XDECREF(each);
    }
    return calls == NULL ? NULL
                         : Py_BuildValue("(IIIKN)", talk->id, talk->sent, talk->lowest, (unsigned long long)talk->last,
                                         calls);
}

/* State to which a packet that is refused returns: it has only calls, or only replies. */
typedef struct {
    uint32_t waiting, sent, lowest, known_sent, known_waiting;
    uint64_t last, exchanges, presented;
    size_t closed;
} TalkMark;

static TalkMark talk_mark(const Scanner *self, const Talk *talk)
{
    TalkMark at = {talk->waiting, talk->sent, talk->lowest, talk->known_sent, talk->known_waiting, talk->last,
                   self->exchanges, self->presented, self->closed.size};
    return at;
}

static void talk_back_to(Scanner *self, Talk *talk, const TalkMark *at)
{
    while (talk->waiting > at->waiting)
        drop_call(self, talk->calls + --talk->waiting);
    for (uint32_t i = 0; i < talk->waiting; i++)
        talk->calls[i].gone = 0;
    talk->sent = at->sent;
    talk->lowest = at->lowest;
    talk->known_sent = at->known_sent;
    talk->known_waiting = at->known_waiting;
    talk->last = at->last;
    talk->given_back = 0;
    self->exchanges = at->exchanges;
    self->presented = at->presented;
    self->closed.size = at->closed;
}

/* The end of a packet that is accepted. */
static void talk_settle(Scanner *self, Talk *talk)
{
    if (talk->given_back) {
        end_talk(self, talk);
        return;
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < talk->waiting; i++) {
        if (talk->calls[i].gone)
            drop_call(self, talk->calls + i);
        else
            talk->calls[kept++] = talk->calls[i];
    }
    talk->waiting = kept;
}

/* Python numbers the exchanges: the scan ends with the packet of a message that may complete one. */
static void stop_after(Scanner *self) { self->held |= (uint64_t)1 << 62; }

static int append(PyObject *list, PyObject *item)
{
    const int status = item != NULL && PyList_Append(list, item) == 0 ? OK : RAISED;
    Py_XDECREF(item);
    return status;
}

/* Python goes on, with the calls that wait, and the message. */
static int give_back(Scanner *self, Talk *talk, const Lane *lane, const Kind *kind, const Said *said)
{
    int status = append(self->found, calls_of(talk));
    if (status)
        return status;
    talk->given_back = 1;
    stop_after(self);
    return put_object(self, lane, kind, said->frame, said->length, said->time_ns, said->packet);
}

/* A message of an exchange that Python has, after (connection, calls sent, lowest serial, calls that wait); or data of
 * its open stream, which change nothing else. */
static int put_other(Scanner *self, Talk *talk, Other *other, const Lane *lane, const Kind *kind, const Said *said)
{
    uint32_t waiting = 0;
    if (kind->row == ANY && !other->over)
        return put_object(self, lane, kind, said->frame, said->length, said->time_ns, said->packet);
    other->over = 1;
    stop_after(self);
    for (uint32_t i = 0; i < talk->waiting; i++)
        waiting += !talk->calls[i].gone;
    if (talk->known_sent != talk->sent || talk->known_waiting != waiting) {
        int status = append(self->found, Py_BuildValue("(IIII)", talk->id, talk->sent, talk->lowest, waiting));
        if (status)
            return status;
        talk->known_sent = talk->sent;
        talk->known_waiting = waiting;
    }
    return put_object(self, lane, kind, said->frame, said->length, said->time_ns, said->packet);
}

static int valid_payload(const Scanner *self, const Kind *kind, const uint8_t *frame, uint32_t length)
{
    Cursor in = cursor(frame + HEADER_END, frame + length);
    if (kind->row == NONE)
        return length == HEADER_END;
    return check_steps(self, kind, &in) == OK && in.at == in.end;
}

static void exchange_key(uint8_t *key, const uint8_t *frame)
{
    memcpy(key, frame + 4, 8);
    memcpy(key + 8, frame + 20, 4);
}

static Call *find_call(Talk *talk, const uint8_t *key)
{
    for (uint32_t i = 0; i < talk->waiting; i++) {
        const uint8_t *call = talk->calls[i].frame;
        if (!talk->calls[i].gone && memcmp(call + 4, key, 8) == 0 && memcmp(call + 20, key + 8, 4) == 0)
            return talk->calls + i;
    }
    return NULL;
}

static Other *find_other(Talk *talk, const uint8_t *key)
{
    for (uint32_t i = 0; i < talk->others_count; i++)
        if (memcmp(talk->others[i].key, key, EXCHANGE_KEY) == 0)
            return talk->others + i;
    return NULL;
}

/* Seconds of a latency, with the decimals that the clock has: presenters/exchanges.py. */
static int put_took(Out *out, int64_t call_ns, int64_t reply_ns)
{
    int64_t latency;
    if (__builtin_sub_overflow(reply_ns, call_ns, &latency))
        return REFUSED;
    int decimals = 6;
    int64_t unit = 1000;
    if (call_ns % 1000000 == 0 && reply_ns % 1000000 == 0)
        decimals = 3, unit = 1000000;
    if (call_ns % 1000000000 == 0 && reply_ns % 1000000000 == 0)
        decimals = 0, unit = 1000000000;
    if (latency < 0 || latency > 1000000000000000 || latency % unit * 2 == unit) { /* binary fractions decide */
        char *text = PyOS_double_to_string((double)latency / 1e9, 'f', decimals, 0, NULL);
        if (text == NULL) {
            PyErr_Clear();
            return NO_MEMORY;
        }
        int status = put(out, text, strlen(text));
        PyMem_Free(text);
        return status;
    }
    uint64_t number = (uint64_t)(latency / unit + (latency % unit * 2 > unit));
    char digits[32];
    size_t at = sizeof digits;
    for (int i = 0; i < decimals; i++, number /= 10)
        digits[--at] = (char)('0' + number % 10);
    if (decimals)
        digits[--at] = '.';
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return put(out, digits + at, sizeof digits - at);
}

/* The name or the UUID of the object that a call is about, after values of the rows in the part's text. */
static int put_subject(const Scanner *self, Out *out, const Part *part, uint32_t slot, const Said *said)
{
    Cursor in = cursor(said->frame + HEADER_END, said->frame + said->length);
    const uint8_t *data;
    uint32_t row, size;
    int64_t number;
    int status;
    for (uint32_t i = 0; i < part->length; i += 4) {
        memcpy(&row, self->text.data + part->text + i, 4);
        if ((status = take_value(self->plan, row, &in, NULL, &number, 0)))
            return status;
    }
    if (slot == UUID_TEXT) {
        if (left(&in) < 16)
            return REFUSED;
        for (int i = 0; i < 16; i++)
            if (((i == 4 || i == 6 || i == 8 || i == 10) && (status = put(out, "-", 1))) ||
                (status = put_hex(out, in.at + i, 1)))
                return status;
        return OK;
    }
    if (take_word(&in, &size) || take_padded(&in, size, &data))
        return REFUSED;
    if (slot == NAME_JSON)
        return put_string(out, data, size);
    if (size > 80) /* _MAX_NAME */
        return REFUSED;
    for (uint32_t i = 0; i < size; i++)
        if (data[i] < 0x20 || data[i] > 0x7E || data[i] == '"' || data[i] == '\\')
            return REFUSED;
    return put(out, data, size);
}

static int put_exchange(Scanner *self, const Lane *lane, const Said *call, const Said *reply, uint32_t overtaken)
{
    Out *out = &self->out;
    int64_t number;
    int status = OK;
    for (uint32_t i = 0; i < reply->kind->exchange_count && !status; i++) {
        const Part *part = self->parts + reply->kind->exchange_first + i;
        const Said *said = part->slot & OF_REPLY ? reply : call;
        const uint8_t *payload = said->frame + HEADER_END, *end = said->frame + said->length;
        Cursor in = cursor(payload, end);
        const uint32_t slot = part->slot & ~(uint32_t)OF_REPLY;
        switch (slot) {
        case TEXT: status = put(out, self->text.data + part->text, part->length); break;
        case NUMBER: status = put_unsigned(out, said->n); break;
        case TIME_NS: status = put_signed(out, said->time_ns); break;
        case CLOCK:
            status = __builtin_sub_overflow(said->time_ns, self->start_ns, &number) ? REFUSED : put_clock(out, number);
            break;
        case CONN: status = put(out, lane->conn.data, lane->conn.size); break;
        case LENGTH: status = put_unsigned(out, said->length); break;
        case SERIAL: status = put_unsigned(out, word_at(said->frame + 20)); break;
        case PACKET: status = put_unsigned(out, said->packet); break;
        case FAULT: status = put_fault(self, out, payload, end); break;
        case PAYLOAD:
            status = said->kind->row == NONE ? put(out, "null", 4)
                                             : take_value(self->plan, said->kind->row, &in, out, &number, 0);
            break;
        case EXCHANGE: status = put_unsigned(out, self->exchanges + 1); break;
        case LATENCY:
            status = __builtin_sub_overflow(reply->time_ns, call->time_ns, &number) ? REFUSED : put_signed(out, number);
            break;
        case TOOK: status = put_took(out, call->time_ns, reply->time_ns); break;
        case OVERTAKEN: status = put_unsigned(out, overtaken); break;
        case OVERTAKEN_TEXT:
            if (overtaken && !(status = put(out, " overtaken=", 11)))
                status = put_unsigned(out, overtaken);
            break;
        case ERROR_CODE: case ERROR_JSON: status = put_error(out, slot, payload, end); break;
        case NAME_TEXT: case NAME_JSON: case UUID_TEXT: status = put_subject(self, out, part, slot, said); break;
        default: status = REFUSED;
        }
    }
    return status;
}

/* The line of an exchange that a reply completes; REFUSED leaves it to Python. */
static int complete(Scanner *self, Talk *talk, const Lane *lane, Call *call, const Said *reply)
{
    const size_t written = self->out.size, closed = self->closed.size;
    uint32_t later = 0;
    if (!reply->kind->exchange_known || memcmp(call->frame + 12, reply->frame + 12, 4) != 0) /* another procedure */
        return REFUSED;
    for (const Call *each = call + 1; each < talk->calls + talk->waiting; each++)
        later += !each->gone;
    int status = put_exchange(self, lane, &call->said, reply, talk->sent - call->position - 1 - later);
    const uint32_t key[4] = {talk->id, word_at(reply->frame + 4), word_at(reply->frame + 8),
                             word_at(reply->frame + 20)};
    if (status || (status = put(&self->closed, key, sizeof key))) {
        self->out.size = written;
        self->closed.size = closed;
        return status;
    }
    call->gone = 1;
    self->exchanges++;
    self->presented += reply->kind->exchange_count ? 2 : 0;
    return OK;
}

static int keep_call(Scanner *self, Talk *talk, const Said *said)
{
    if (talk->waiting == talk->room) {
        const uint32_t room = talk->room ? 2 * talk->room : 4;
        Call *grown = PyMem_Realloc(talk->calls, room * sizeof *grown);
        if (grown == NULL)
            return NO_MEMORY;
        talk->calls = grown;
        talk->room = room;
    }
    uint8_t *frame = PyMem_Malloc(said->length);
    if (frame == NULL)
        return NO_MEMORY;
    Call *call = talk->calls + talk->waiting;
    memcpy(frame, said->frame, said->length);
    call->said = *said;
    call->said.frame = call->frame = frame;
    call->position = talk->sent++;
    call->gone = 0;
    talk->waiting++;
    self->calls++;
    self->call_bytes += said->length;
    const uint32_t serial = word_at(frame + 20);
    if (serial < talk->lowest)
        talk->lowest = serial;
    return OK;
}

/* A message of a connection whose calls are paired. */
static int take_message(Scanner *self, Talk *talk, const Lane *lane, const Kind *kind, const uint8_t *frame,
                        uint32_t length, int64_t time_ns, uint64_t packet)
{
    enum { TYPE_CALL, TYPE_REPLY, TYPE_EVENT, TYPE_STREAM, TYPE_HOLE = 6, STATUS_OK = 0, STATUS_ERROR };
    const Said said = {kind, frame, length, time_ns, self->messages + 1, packet};
    const uint32_t type = word_at(frame + 16), status = word_at(frame + 24);
    int done = REFUSED;
    if (kind->fields == NULL)
        return REFUSED;
    if (kind->row != ANY && !valid_payload(self, kind, frame, length))
        return REFUSED;
    uint8_t key[EXCHANGE_KEY];
    exchange_key(key, frame);
    Other *other = find_other(talk, key);
    if (word_at(frame + 4) == KEEPALIVE || type == TYPE_EVENT)
        done = kind->row == ANY ? REFUSED : OK; /* of no exchange */
    else if (other != NULL) {
        if (type == TYPE_REPLY || type == TYPE_STREAM || type == TYPE_HOLE)
            return put_other(self, talk, other, lane, kind, &said);
    }
    else if (type == TYPE_CALL && status == STATUS_OK && lane->direction == 0) {
        if (kind->row != ANY && talk->waiting < MAX_WAITING && self->calls < MAX_CALLS &&
            length <= MAX_CALL_BYTES - self->call_bytes && find_call(talk, key) == NULL)
            done = keep_call(self, talk, &said);
    }
    else if (type == TYPE_REPLY && status <= STATUS_ERROR && lane->direction == 1) {
        Call *call = kind->row == ANY ? NULL : find_call(talk, key);
        if (call != NULL)
            done = complete(self, talk, lane, call, &said);
    }
    if (done == REFUSED)
        return give_back(self, talk, lane, kind, &said);
    if (done)
        return done;
    if (type != TYPE_EVENT && word_at(frame + 4) != KEEPALIVE)
        talk->last = said.n;
    self->messages++;
    self->failures += kind->failed;
    return OK;
}

/* ---- routine exchanges ---- */

/* A call and its reply, if they are two messages in succession, of kinds that Python calls routine. routine.py reads
 * these rows, in the byte order of the machine. */
typedef struct {
    uint64_t n, call_packet, reply_packet, frame;
    int64_t call_ns, reply_ns;
    uint32_t call_length, reply_length, serial, connection, call_kind, reply_kind;
} RoutineRow;
#define MAX_ROUTINE_LENGTH 65536u
#define MAX_ROUTINE_NS 100000000

/* The number of a connection among those of the rows, or -1. */
static Py_ssize_t row_connection(Scanner *self, PyObject *connection)
{
    const Py_ssize_t count = PyList_Size(self->connections);
    if (count > 0 && PyList_GetItem(self->connections, count - 1) == connection)
        return count - 1;
    return PyList_Append(self->connections, connection) < 0 ? -1 : count;
}

/* The call that has no reply in the next message becomes an object; if it cannot, (message, time, connection, packet,
 * frame). */
static int release_call(Scanner *self)
{
    const Said call = self->call;
    const Lane *lane = self->call_lane;
    const uint8_t *frame = (const uint8_t *)self->frames.data + self->call_frame;
    self->call_lane = NULL;
    self->messages--; /* it is the last one */
    int status = put_object(self, lane, call.kind, frame, call.length, call.time_ns, call.packet);
    if (status != REFUSED)
        return status;
    self->messages++;
    self->shown++;
    return append(self->found, Py_BuildValue("(KLOKy#)", (unsigned long long)call.n, (long long)call.time_ns,
                                             lane->connection, (unsigned long long)call.packet, frame,
                                             (Py_ssize_t)call.length));
}

static int is_routine_call(const Scanner *self, const Lane *lane, const Kind *kind, const uint8_t *frame, uint32_t length)
{
    return kind->routine && kind->fields != NULL && lane->direction == 0 && length <= MAX_ROUTINE_LENGTH && word_at(frame + 16) == 0 &&
           valid_payload(self, kind, frame, length);
}

static int is_routine_reply(const Scanner *self, const Lane *lane, const Kind *kind, const uint8_t *frame,
                            uint32_t length, int64_t time_ns)
{
    const Said *call = &self->call;
    const uint8_t *sent = (const uint8_t *)self->frames.data + self->call_frame;
    int64_t latency;
    return kind->routine && kind->fields != NULL && lane->direction == 1 && lane->connection == self->call_lane->connection &&
           length <= MAX_ROUTINE_LENGTH && word_at(frame + 16) == 1 && memcmp(sent + 4, frame + 4, 12) == 0 &&
           memcmp(sent + 20, frame + 20, 4) == 0 && !__builtin_sub_overflow(time_ns, call->time_ns, &latency) &&
           latency >= 0 && latency < MAX_ROUTINE_NS && valid_payload(self, kind, frame, length);
}

/* A message while rows are written. */
static int put_routine(Scanner *self, const Lane *lane, const Kind *kind, const uint8_t *frame, uint32_t length,
                       int64_t time_ns, uint64_t packet)
{
    int status;
    if (self->call_lane != NULL && is_routine_reply(self, lane, kind, frame, length, time_ns)) {
        const Said *call = &self->call;
        const Py_ssize_t number = row_connection(self, lane->connection);
        if (number < 0)
            return RAISED;
        const RoutineRow row = {call->n, call->packet, packet, self->call_frame, call->time_ns, time_ns, call->length, length,
                          word_at(frame + 20), (uint32_t)number, (uint32_t)(call->kind - self->kinds),
                          (uint32_t)(kind - self->kinds)};
        if ((status = put(&self->frames, frame, length)) || (status = put(&self->rows, &row, sizeof row)))
            return status;
        self->call_lane = NULL;
        self->messages++;
        self->shown += 2;
        self->held += length;
        return OK;
    }
    if (self->call_lane != NULL && (status = release_call(self)))
        return status;
    if (!is_routine_call(self, lane, kind, frame, length))
        return put_object(self, lane, kind, frame, length, time_ns, packet);
    const size_t place = self->frames.size;
    if ((status = put(&self->frames, frame, length)))
        return status;
    self->call = (Said){kind, NULL, length, time_ns, ++self->messages, packet};
    self->call_lane = lane;
    self->call_frame = place;
    self->held += length;
    return OK;
}

static inline int put_message(Scanner *self, Lane *lane, const Kind *kind, const uint8_t *frame, uint32_t length,
                              int64_t time_ns, uint64_t packet)
{
    if (lane->talk && !lane->talk->given_back)
        return take_message(self, lane->talk, lane, kind, frame, length, time_ns, packet);
    if (self->pairing && lane->talk == NULL)
        stop_after(self);
    if (self->routine)
        return put_routine(self, lane, kind, frame, length, time_ns, packet);
    if (self->columns)
        return put_row(self, lane, kind, frame, length, time_ns, packet);
    return self->found ? put_object(self, lane, kind, frame, length, time_ns, packet)
                       : put_line(self, lane, kind, frame, length, time_ns, packet);
}

/* ---- packets ---- */

/* Back to the messages before a packet that is refused. */
typedef struct {
    size_t written;
    Py_ssize_t found;
    uint64_t messages, shown, failures;
    size_t rows, routine_rows, frames, call_frame;
    const Lane *call_lane;
    Said call;
} Mark;

static Mark mark(const Scanner *self)
{
    Mark at = {self->out.size, self->found ? PyList_Size(self->found) : 0, self->messages, self->shown,
               self->failures, self->columns ? self->columns->rows : 0, self->rows.size, self->frames.size,
               self->call_frame, self->call_lane, self->call};
    return at;
}

static void back_to(Scanner *self, const Mark *at)
{
    self->out.size = at->written;
    self->messages = at->messages;
    self->shown = at->shown;
    self->failures = at->failures;
    self->rows.size = at->routine_rows;
    self->frames.size = at->frames;
    self->call_frame = at->call_frame;
    self->call_lane = at->call_lane;
    self->call = at->call;
    if (self->columns)
        columns_back_to(self->columns, at->rows);
    if (self->found && PyList_Size(self->found) > at->found) {
        PyObject *type, *value, *trace;
        PyErr_Fetch(&type, &value, &trace);
        PyList_SetSlice(self->found, at->found, PyList_Size(self->found), NULL);
        PyErr_Restore(type, value, trace);
    }
}

/* The size of the frame that begins with the bytes, or of what is needed to know it; 0 for one that is refused. */
static inline size_t frame_size(const Scanner *self, const Lane *lane, const uint8_t *data, size_t size, const Kind **kind)
{
    if (size < 4)
        return HEADER_END;
    const uint32_t length = word_at(data);
    if (length < HEADER_END || length > MAX_MESSAGE)
        return 0;
    if (size < HEADER_END)
        return HEADER_END;
    *kind = kind_of(self, data, lane->direction);
    return *kind ? length : 0;
}

/* Complete and present the pending frame, with bytes from *at on. */
static int take_pending(Scanner *self, Lane *lane, const uint8_t **at, const uint8_t *end, int64_t time_ns, uint64_t packet)
{
    const Kind *kind = NULL;
    Out *pending = &lane->pending;
    for (;;) {
        const size_t needed = frame_size(self, lane, (const uint8_t *)pending->data, pending->size, &kind);
        if (needed < pending->size) /* 0, or more than a frame is pending */
            return REFUSED;
        if (needed == pending->size)
            break;
        size_t more = needed - pending->size;
        if (more > (size_t)(end - *at))
            more = (size_t)(end - *at);
        int status = more ? put(pending, *at, more) : OK;
        if (status || !more)
            return status;
        *at += more;
    }
    int status = put_message(self, lane, kind, (const uint8_t *)pending->data, (uint32_t)pending->size, time_ns, packet);
    if (status == OK)
        pending->size = 0;
    return status;
}

/* The frames in bytes of a lane; REFUSED leaves the lane and the output as they were. */
static int take_bytes(Scanner *self, Lane *lane, const uint8_t *at, const uint8_t *end, int64_t time_ns, uint64_t packet)
{
    const size_t held = lane->pending.size;
    const Mark before = mark(self);
    Talk *talk = lane->talk;
    const TalkMark talk_before = talk ? talk_mark(self, talk) : (TalkMark){0};
    const Kind *kind = NULL;
    size_t size;
    int status = held ? take_pending(self, lane, &at, end, time_ns, packet) : OK;
    while (!status && at < end) {
        if ((size = frame_size(self, lane, at, (size_t)(end - at), &kind)) == 0)
            status = REFUSED;
        else if (size > (size_t)(end - at)) {
            status = put(&lane->pending, at, (size_t)(end - at));
            break;
        }
        else {
            status = put_message(self, lane, kind, at, (uint32_t)size, time_ns, packet);
            at += size;
        }
    }
    if (status) {
        back_to(self, &before);
        if (talk)
            talk_back_to(self, talk, &talk_before);
        lane->pending.size = held; /* nothing has overwritten them */
    }
    else {
        if (held)
            shrink(&lane->pending);
        if (talk)
            talk_settle(self, talk);
    }
    return status;
}

enum { FIN = 1, SYN = 2, RST = 4 };

typedef struct {
    const uint8_t *tcp, *stop;
    uint8_t key[MAX_KEY];
    size_t key_size;
} Segment;

/* The TCP segment in a packet: REFUSED unless it is complete. */
static inline int find_segment(uint32_t link, const uint8_t *data, size_t size, Segment *found)
{
    const uint8_t *at = data, *end = data + size, *stop;
    uint8_t *key = found->key;
    size_t key_size, type_at;
    uint16_t type;
    switch (link) {
    case 1: type_at = 12, at += 14; break;  /* Ethernet */
    case 113: type_at = 14, at += 16; break; /* Linux cooked */
    case 276: type_at = 0, at += 20; break; /* Linux cooked, version 2 */
    case 0: case 108: type_at = size, at += 4; break; /* BSD loopback */
    case 12: case 14: case 101: case 228: case 229: type_at = size; break; /* raw IP */
    default: return REFUSED;
    }
    if (size <= (size_t)(at - data))
        return REFUSED;
    if (type_at < size) {
        type = half_at(data + type_at);
        for (int tags = 0; tags < 4 && (type == 0x8100 || type == 0x88A8 || type == 0x9100); tags++) {
            if (end - at < 4)
                return REFUSED;
            type = half_at(at + 2);
            at += 4;
        }
    }
    else
        type = at[0] >> 4 == 4 ? 0x0800 : at[0] >> 4 == 6 ? 0x86DD : 0;
    if (type == 0x0800) {
        if (end - at < 20 || at[0] >> 4 != 4 || at[9] != 6 || half_at(at + 6) & 0x3FFF)
            return REFUSED;
        size_t header = (size_t)(at[0] & 15) * 4, total = half_at(at + 2);
        if (header < 20 || total < header + 20 || total > (size_t)(end - at))
            return REFUSED;
        memcpy(key, at + 12, 8);
        key_size = 12;
        stop = at + total;
        at += header;
    }
    else if (type == 0x86DD) {
        if (end - at < 40 || at[6] != 6)
            return REFUSED;
        size_t total = half_at(at + 4);
        if (total < 20 || total > (size_t)(end - at) - 40)
            return REFUSED;
        memcpy(key, at + 8, 32);
        key_size = 36;
        at += 40;
        stop = at + total;
    }
    else
        return REFUSED;
    memcpy(key + key_size - 4, at, 4);
    found->tcp = at;
    found->stop = stop;
    found->key_size = key_size;
    return OK;
}

/* A packet: REFUSED unless it is a TCP segment in order, of a lane, without flags, and complete. */
static int take_packet(Scanner *self, uint32_t link, const uint8_t *data, size_t size, int64_t time_ns, uint64_t packet)
{
    Segment found;
    if (find_segment(link, data, size, &found))
        return REFUSED;
    const uint8_t *at = found.tcp, *stop = found.stop;
    const size_t header = (size_t)(at[12] >> 4) * 4;
    if (header < 20 || header > (size_t)(stop - at) || at[13] & (SYN | FIN | RST))
        return REFUSED;
    Lane *lane = find_lane(self, found.key, found.key_size);
    if (lane == NULL || lane->next != word_at(at + 4))
        return REFUSED;
    at += header;
    if (at < stop) {
        const int status = take_bytes(self, lane, at, stop, time_ns, packet);
        if (status)
            return status;
        lane->next += (uint32_t)(stop - at);
        lane->packet = packet;
        self->has_data = 1;
        self->last_data_ns = time_ns;
    }
    self->last_ns = time_ns;
    return OK;
}

/* ---- captures ---- */

/* Stop now and then, so that output flows and signals are seen. */
#define MAX_BATCH ((size_t)1 << 20)

static inline int is_full(const Scanner *self)
{
    return self->out.size >= MAX_BATCH || self->held >= MAX_BATCH || (self->columns && columns_full(self->columns));
}

typedef struct {
    uint32_t link;
    uint64_t ns; /* per tick */
    int64_t offset;
} Interface;

static inline uint32_t ordered(const uint8_t *at, int big) { return big ? word_at(at) : little_at(at); }

/* A packet of a capture. */
typedef struct {
    uint32_t link;
    const uint8_t *data, *next;
    size_t size;
    int64_t time_ns;
} Packet;

/* The packets of a capture from `at` on. */
typedef struct {
    const uint8_t *at, *end;
    int blocks, big;
    const Interface *faces;
    size_t count, limit;
} Packets;

/* A pcap record. */
static inline int record_at(const Packets *of, Packet *packet)
{
    const uint8_t *at = of->at;
    if (of->end - at < 16)
        return REFUSED;
    const size_t size = ordered(at + 8, of->big);
    if (size > (size_t)(of->end - at) - 16 || size > of->limit || ordered(at + 12, of->big) > size)
        return REFUSED;
    packet->link = of->faces->link;
    packet->data = at + 16;
    packet->next = at + 16 + size;
    packet->size = size;
    packet->time_ns = (int64_t)ordered(at, of->big) * 1000000000 + (int64_t)(ordered(at + 4, of->big) * of->faces->ns);
    return OK;
}

/* A pcapng Enhanced Packet Block. */
static inline int block_at(const Packets *of, Packet *packet)
{
    const uint8_t *at = of->at;
    const int big = of->big;
    if (of->end - at < 32)
        return REFUSED;
    const size_t length = ordered(at + 4, big), size = ordered(at + 20, big);
    const uint32_t number = ordered(at + 8, big);
    if (ordered(at, big) != 6 || length % 4 || length < 32 || length > (size_t)(of->end - at) || length > of->limit ||
        ordered(at + length - 4, big) != length)
        return REFUSED;
    if (number >= of->count || of->faces[number].ns == 0 || size > length - 32 || ordered(at + 24, big) > size)
        return REFUSED;
    const Interface *face = of->faces + number;
    const uint64_t ticks = (uint64_t)ordered(at + 12, big) << 32 | ordered(at + 16, big);
    if (ticks > (uint64_t)4000000000000000000 / face->ns ||
        __builtin_add_overflow((int64_t)(ticks * face->ns), face->offset, &packet->time_ns))
        return REFUSED;
    packet->link = face->link;
    packet->data = at + 28;
    packet->next = at + length;
    packet->size = size;
    return OK;
}

static inline int packet_at(const Packets *of, Packet *packet)
{
    return of->blocks ? block_at(of, packet) : record_at(of, packet);
}

static int scan_packets(Scanner *self, Packets *of)
{
    Packet packet;
    int status = OK;
    while (!is_full(self) && packet_at(of, &packet) == OK) {
        if ((status = take_packet(self, packet.link, packet.data, packet.size, packet.time_ns, self->packets + 1)))
            break;
        self->packets++;
        of->at = packet.next;
    }
    return status;
}

/* The number of packets from here on that belong to no lane, up to a number: Python can read them at once. */
static uint32_t strays(const Scanner *self, Packets of, uint32_t most)
{
    Packet packet;
    Segment found;
    uint32_t count = 0;
    for (; count < most && packet_at(&of, &packet) == OK; count++, of.at = packet.next)
        if (find_segment(packet.link, packet.data, packet.size, &found) == OK &&
            find_lane(self, found.key, found.key_size) != NULL)
            break;
    return count;
}

/* ---- the scanner as a Python object ---- */

static int scanner_traverse(PyObject *object, visitproc visit, void *arg)
{
    Scanner *self = (Scanner *)object;
    Py_VISIT(Py_TYPE(object));
    Py_VISIT(self->plan_object);
    Py_VISIT(self->captured);
    Py_VISIT(self->message);
    Py_VISIT(self->header);
    Py_VISIT(self->found);
    Py_VISIT(self->connections);
    for (uint32_t i = 0; i < self->lane_count; i++)
        Py_VISIT(self->lanes[i].connection);
    for (uint32_t i = 0; i < self->kind_count; i++)
        Py_VISIT(self->kinds[i].fields);
    return 0;
}

/* What is left refuses every message. */
static int scanner_clear(PyObject *object)
{
    Scanner *self = (Scanner *)object;
    for (uint32_t i = 0; i < self->kind_count; i++)
        Py_CLEAR(self->kinds[i].fields);
    for (uint32_t i = 0; i < self->lane_count; i++)
        Py_CLEAR(self->lanes[i].connection);
    return 0;
}

static void scanner_dealloc(PyObject *object)
{
    Scanner *self = (Scanner *)object;
    PyTypeObject *type = Py_TYPE(object);
    PyObject_GC_UnTrack(object);
    scanner_clear(object);
    for (uint32_t i = 0; i < self->lane_count; i++) {
        end_talk(self, self->lanes[i].talk);
        out_free(&self->lanes[i].pending);
        out_free(&self->lanes[i].conn);
    }
    Py_XDECREF(self->captured);
    Py_XDECREF(self->message);
    Py_XDECREF(self->header);
    Py_XDECREF(self->directions[0]);
    Py_XDECREF(self->directions[1]);
    Py_XDECREF(self->empty);
    Py_XDECREF(self->found);
    Py_XDECREF(self->connections);
    PyMem_Free(self->lanes);
    PyMem_Free(self->lane_slots);
    PyMem_Free(self->free_lanes);
    PyMem_Free(self->kinds);
    PyMem_Free(self->kind_slots);
    PyMem_Free(self->parts);
    out_free(&self->text);
    out_free(&self->out);
    out_free(&self->closed);
    out_free(&self->rows);
    out_free(&self->frames);
    Py_XDECREF(self->plan_object);
    Py_XDECREF((PyObject *)self->columns);
    PyObject_GC_Del(object);
    Py_DECREF(type);
}

static PyObject *scanner_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *plan, *captured = NULL, *message = NULL, *header = NULL, *columns = NULL;
    unsigned int fault_names;
    static char *names[] = {"plan", "fault_names", "captured", "message", "header", "columns", NULL};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OI|OOOO:Scanner", names, &plan, &fault_names, &captured, &message,
                                     &header, &columns))
        return NULL;
    if (columns != NULL && (header != NULL || PyType_GetSlot(Py_TYPE(columns), Py_tp_dealloc) != (void *)columns_dealloc)) {
        PyErr_SetString(PyExc_TypeError, "expected Columns, without classes of messages");
        return NULL;
    }
    if (PyType_GetSlot(Py_TYPE(plan), Py_tp_dealloc) != (void *)plan_dealloc) {
        PyErr_SetString(PyExc_TypeError, "expected a Plan");
        return NULL;
    }
    Plan *of = &((PlanObject *)plan)->plan;
    of->checks = of->words_count;
    if (fault_names && (!valid_names(of, fault_names) || of->words[fault_names] != ONE_OF)) {
        PyErr_SetString(PyExc_ValueError, "no such names");
        return NULL;
    }
    if ((captured == NULL) != (header == NULL) || (message == NULL) != (header == NULL)) {
        PyErr_SetString(PyExc_TypeError, "expected all classes of messages, or none");
        return NULL;
    }
    allocfunc allocate = (allocfunc)PyType_GetSlot(type, Py_tp_alloc);
    Scanner *self = (Scanner *)allocate(type, 0);
    if (self == NULL)
        return NULL;
    self->plan_object = Py_NewRef(plan);
    self->plan = of;
    self->fault_names = fault_names;
    self->columns = (Columns *)Py_XNewRef(columns);
    self->lanes = PyMem_Calloc(MAX_LANES, sizeof *self->lanes);
    self->lane_slots = PyMem_Calloc(2 * MAX_LANES, sizeof *self->lane_slots);
    self->free_lanes = PyMem_Calloc(MAX_LANES, sizeof *self->free_lanes);
    self->kinds = PyMem_Calloc(MAX_KINDS, sizeof *self->kinds);
    self->kind_slots = PyMem_Calloc(2 * MAX_KINDS, sizeof *self->kind_slots);
    if (self->lanes == NULL || self->lane_slots == NULL || self->free_lanes == NULL || self->kinds == NULL ||
        self->kind_slots == NULL) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    if (header != NULL) {
        self->captured = Py_NewRef(captured);
        self->message = Py_NewRef(message);
        self->header = Py_NewRef(header);
        self->directions[0] = PyUnicode_InternFromString("c2s");
        self->directions[1] = PyUnicode_InternFromString("s2c");
        self->empty = PyTuple_New(0);
        self->found = PyList_New(0);
        self->connections = PyList_New(0);
        if (self->directions[0] == NULL || self->directions[1] == NULL || self->empty == NULL || self->found == NULL ||
            self->connections == NULL) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

/* The classes of messages are Python code: it must not use the scanner that is calling it. */
static int is_busy(const Scanner *self)
{
    if (self->busy)
        PyErr_SetString(PyExc_RuntimeError, "the scanner is scanning");
    return self->busy;
}

/* Add a text; 0 with an exception. */
static int add_text(Scanner *self, PyObject *item, Part *part)
{
    char *text;
    Py_ssize_t size;
    if (PyBytes_AsStringAndSize(item, &text, &size) < 0)
        return 0;
    part->text = (uint32_t)self->text.size;
    part->length = (uint32_t)size;
    if (put(&self->text, text, (size_t)size) == OK)
        return 1;
    PyErr_NoMemory();
    return 0;
}

/* The rows before a place in a payload, (slot, row, field, field, ...), as the part's text. */
static int add_place(Scanner *self, PyObject *place, Part *part)
{
    enum { MAX_PLACE = 16 };
    const Plan *plan = self->plan;
    unsigned long numbers[MAX_PLACE];
    const Py_ssize_t count = PyTuple_Size(place);
    if (count < 3 || count > MAX_PLACE)
        return 0;
    for (Py_ssize_t i = 0; i < count; i++)
        if ((numbers[i] = PyLong_AsUnsignedLong(PyTuple_GetItem(place, i))) == (unsigned long)-1 && PyErr_Occurred())
            return 0;
    if (numbers[1] >= plan->rows)
        return 0;
    part->slot = (uint32_t)(numbers[0] & 0xFF);
    part->text = (uint32_t)self->text.size;
    uint32_t row = (uint32_t)numbers[1];
    for (Py_ssize_t i = 2; i < count; i++) {
        const Row *outer = row_of(plan, row);
        if (outer->kind != STRUCT || numbers[i] >= outer->count)
            return 0;
        for (uint32_t field = 0; field <= numbers[i]; field++) {
            row = entry_of(plan, outer->entries, field)->row;
            if (field < numbers[i] && put(&self->text, &row, sizeof row))
                return 0;
        }
    }
    part->length = (uint32_t)self->text.size - part->text;
    const uint32_t slot = part->slot & ~(uint32_t)OF_REPLY, kind = row_of(plan, row)->kind;
    return slot == UUID_TEXT ? kind == UUID || (kind == FIXED_OPAQUE && row_of(plan, row)->limit == 16)
                             : (slot == NAME_TEXT || slot == NAME_JSON) && kind == STRING;
}

static int add_part(Scanner *self, PyObject *item, Part *part)
{
    part->slot = TEXT;
    if (PyTuple_Check(item))
        return add_place(self, item, part);
    if (PyBytes_Check(item))
        return add_text(self, item, part);
    unsigned long slot = PyLong_AsUnsignedLong(item);
    if (PyErr_Occurred())
        return 0;
    part->slot = (uint32_t)slot;
    slot &= ~(unsigned long)OF_REPLY;
    return slot != TEXT && slot < EXCHANGE_SLOTS && (slot < NAME_TEXT || slot > UUID_TEXT) && (slot != FAULT || self->fault_names);
}

/* Make room for parts, and for the steps of a check after them; 0 with an exception. */
static int room_for_parts(Scanner *self, Py_ssize_t count)
{
    if (self->part_count + (size_t)count + MAX_STEPS > self->part_room) {
        size_t room = 2 * (self->part_room + (size_t)count + MAX_STEPS);
        Part *grown = PyMem_Realloc(self->parts, room * sizeof *grown);
        if (grown == NULL) {
            PyErr_NoMemory();
            return 0;
        }
        self->parts = grown;
        self->part_room = room;
    }
    return 1;
}

/* Add the first parts of a tuple, with slots below `slots`; 0 with an exception. */
static int add_parts(Scanner *self, PyObject *parts, Py_ssize_t count, uint32_t slots)
{
    if (!room_for_parts(self, count))
        return 0;
    for (Py_ssize_t i = 0; i < count; i++) {
        Part *part = self->parts + self->part_count + i;
        if (!add_part(self, PyTuple_GetItem(parts, i), part) || part->slot >= slots) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_ValueError, "no such part of a line");
            return 0;
        }
    }
    self->part_count += (size_t)count;
    return 1;
}

static PyObject *scanner_learn(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key;
    Py_ssize_t key_size;
    PyObject *parts;
    unsigned int row;
    int failed;
    if (!PyArg_ParseTuple(args, "y#IpO!:learn", &key, &key_size, &row, &failed, &PyTuple_Type, &parts) ||
        is_busy(self))
        return NULL;
    if (key_size != KIND_KEY || (row != NONE && row != ANY && row >= self->plan->rows)) {
        PyErr_SetString(PyExc_ValueError, "no such kind or row");
        return NULL;
    }
    const int typed = row != NONE && row != ANY;
    const uint8_t *bytes = (const uint8_t *)key;
    const KindKey words = kind_key(bytes, bytes + 16, bytes[20]);
    const uint32_t slot = kind_slot(self, &words);
    Py_ssize_t count = PyTuple_Size(parts);
    if (self->kind_slots[slot] || self->kind_count == MAX_KINDS || count > 64)
        Py_RETURN_FALSE;
    Kind *kind = self->kinds + self->kind_count;
    if (self->found != NULL) {
        if (count != 6) {
            PyErr_SetString(PyExc_ValueError, "expected six fields of a message");
            return NULL;
        }
        count = 0;
    }
    const size_t first = self->part_count;
    if (self->columns ? !room_for_parts(self, count) || !add_codes(self, parts, count) : !add_parts(self, parts, count, SLOTS))
        return NULL;
    kind->key = words;
    kind->row = row;
    kind->failed = failed != 0;
    kind->shows_payload = 0;
    for (size_t i = first; typed && i < self->part_count; i++)
        kind->shows_payload |= self->parts[i].slot == PAYLOAD;
    kind->fields = self->found == NULL ? NULL : Py_NewRef(parts);
    kind->first = (uint32_t)first;
    kind->count = (uint32_t)count;
    kind->checks = typed ? steps_of(self->plan, row, self->parts + self->part_count) : 0;
    self->part_count += kind->checks;
    self->kind_slots[slot] = ++self->kind_count;
    Py_RETURN_TRUE;
}

static PyObject *scanner_learn_exchange(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key;
    Py_ssize_t key_size;
    PyObject *parts;
    if (!PyArg_ParseTuple(args, "y#O!:learn_exchange", &key, &key_size, &PyTuple_Type, &parts) || is_busy(self))
        return NULL;
    if (key_size != KIND_KEY) {
        PyErr_SetString(PyExc_ValueError, "no such kind");
        return NULL;
    }
    const KindKey words = kind_key((const uint8_t *)key, (const uint8_t *)key + 16, (uint8_t)key[20]);
    const uint16_t number = self->kind_slots[kind_slot(self, &words)];
    Kind *kind = number ? self->kinds + number - 1 : NULL;
    const Py_ssize_t count = PyTuple_Size(parts);
    if (kind == NULL || kind->fields == NULL || kind->exchange_known || count > 128)
        Py_RETURN_FALSE;
    if (!add_parts(self, parts, count, 2 * OF_REPLY))
        return NULL;
    kind->exchange_first = (uint32_t)(self->part_count - (size_t)count);
    kind->exchange_count = (uint32_t)count;
    kind->exchange_known = 1;
    Py_RETURN_TRUE;
}

static PyObject *scanner_learn_routine(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key;
    Py_ssize_t key_size;
    if (!PyArg_ParseTuple(args, "y#:learn_routine", &key, &key_size) || is_busy(self))
        return NULL;
    if (key_size != KIND_KEY) {
        PyErr_SetString(PyExc_ValueError, "no such kind");
        return NULL;
    }
    const KindKey words = kind_key((const uint8_t *)key, (const uint8_t *)key + 16, (uint8_t)key[20]);
    const uint16_t number = self->kind_slots[kind_slot(self, &words)];
    Kind *kind = number ? self->kinds + number - 1 : NULL;
    if (kind == NULL || kind->fields == NULL || kind->row == ANY || kind->failed)
        Py_RETURN_NONE;
    kind->routine = 1;
    self->routine = 1;
    return PyLong_FromLong(number - 1);
}

static PyObject *scanner_routine(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Scanner *self = (Scanner *)object;
    if (is_busy(self))
        return NULL;
    if (self->connections == NULL)
        Py_RETURN_NONE;
    PyObject *connections = PyList_AsTuple(self->connections);
    return connections == NULL
               ? NULL
               : Py_BuildValue("(y#y#N)", self->rows.data ? self->rows.data : "", (Py_ssize_t)self->rows.size,
                               self->frames.data ? self->frames.data : "", (Py_ssize_t)self->frames.size, connections);
}

/* A lane that is not in use. NULL: there is none. */
static Lane *new_lane(Scanner *self)
{
    if (self->free_count)
        return self->lanes + self->free_lanes[--self->free_count];
    return self->lane_count < MAX_LANES ? self->lanes + self->lane_count++ : NULL;
}

static void free_lane(Scanner *self, Lane *lane)
{
    end_talk(self, lane->talk);
    out_free(&lane->pending);
    out_free(&lane->conn);
    lane->key_size = 0;
    self->free_lanes[self->free_count++] = (uint16_t)(lane - self->lanes);
    Py_CLEAR(lane->connection);
}

static PyObject *scanner_open(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key, *pending = "";
    char *conn = NULL;
    Py_ssize_t key_size, pending_size = 0, conn_size = 0;
    unsigned int next;
    int direction;
    PyObject *connection;
    if (!PyArg_ParseTuple(args, "y#IiO|y#:open", &key, &key_size, &next, &direction, &connection, &pending, &pending_size) ||
        is_busy(self))
        return NULL;
    if (self->found == NULL && PyBytes_AsStringAndSize(connection, &conn, &conn_size) < 0)
        return NULL;
    if (!is_key(key_size) || direction < 0 || direction > 1) {
        PyErr_SetString(PyExc_ValueError, "no such key or direction");
        return NULL;
    }
    const uint32_t hash = lane_hash(self, (const uint8_t *)key, (size_t)key_size);
    const uint32_t slot = lane_slot(self, (const uint8_t *)key, (size_t)key_size, hash);
    Lane *lane = self->lane_slots[slot] ? NULL : new_lane(self);
    if (lane == NULL)
        Py_RETURN_FALSE;
    if (put(&lane->conn, conn, (size_t)conn_size) || put(&lane->pending, pending, (size_t)pending_size)) {
        free_lane(self, lane);
        return PyErr_NoMemory();
    }
    memcpy(lane->key, key, (size_t)key_size);
    lane->key_size = (uint8_t)key_size;
    lane->hash = hash;
    lane->connection = self->found == NULL ? NULL : Py_NewRef(connection);
    lane->next = next;
    lane->packet = 0;
    lane->batch = 0;
    lane->direction = (uint8_t)direction;
    self->lane_slots[slot] = (uint16_t)(lane - self->lanes + 1);
    Py_RETURN_TRUE;
}

static PyObject *scanner_take(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key;
    Py_ssize_t key_size;
    if (!PyArg_ParseTuple(args, "y#:take", &key, &key_size) || is_busy(self))
        return NULL;
    if (!is_key(key_size))
        Py_RETURN_NONE;
    const uint32_t hash = lane_hash(self, (const uint8_t *)key, (size_t)key_size);
    const uint32_t slot = lane_slot(self, (const uint8_t *)key, (size_t)key_size, hash);
    if (!self->lane_slots[slot])
        Py_RETURN_NONE;
    Lane *lane = self->lanes + self->lane_slots[slot] - 1;
    PyObject *result = Py_BuildValue("(Iy#K)", lane->next, lane->pending.data ? lane->pending.data : "",
                                     (Py_ssize_t)lane->pending.size, (unsigned long long)lane->packet);
    if (result != NULL) {
        free_slot(self, slot);
        free_lane(self, lane);
    }
    return result;
}

static PyObject *scanner_pair(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key, *conn, *others;
    Py_ssize_t key_size, conn_size, others_size;
    unsigned long long id;
    if (!PyArg_ParseTuple(args, "y#Ky#y#:pair", &key, &key_size, &id, &conn, &conn_size, &others, &others_size) ||
        is_busy(self))
        return NULL;
    if (self->found == NULL || !is_key(key_size)) {
        PyErr_SetString(PyExc_ValueError, "no objects, or no such key");
        return NULL;
    }
    uint8_t back[MAX_KEY];
    const size_t half = (size_t)(key_size - 4) / 2;
    memcpy(back, key + half, half);
    memcpy(back + half, key, half);
    memcpy(back + 2 * half, key + 2 * half + 2, 2);
    memcpy(back + 2 * half + 2, key + 2 * half, 2);
    Lane *one = find_lane(self, (const uint8_t *)key, (size_t)key_size), *other = find_lane(self, back, (size_t)key_size);
    if (one == NULL || other == NULL || one->direction == other->direction || one->talk ||
        other->talk || id > UINT32_MAX || others_size % EXCHANGE_KEY || others_size > MAX_WAITING * EXCHANGE_KEY)
        Py_RETURN_FALSE;
    one->conn.size = other->conn.size = 0;
    if (put(&one->conn, conn, (size_t)conn_size) || put(&other->conn, conn, (size_t)conn_size))
        return PyErr_NoMemory();
    Talk *talk = PyMem_Calloc(1, sizeof *talk);
    if (talk == NULL || (talk->others = PyMem_Calloc(MAX_WAITING, sizeof *talk->others)) == NULL) {
        PyMem_Free(talk);
        return PyErr_NoMemory();
    }
    for (Py_ssize_t at = 0; at < others_size; at += EXCHANGE_KEY)
        memcpy(talk->others[talk->others_count++].key, others + at, EXCHANGE_KEY);
    talk->lanes[0] = one;
    talk->lanes[1] = other;
    talk->id = (uint32_t)id;
    talk->lowest = UINT32_MAX;
    one->talk = other->talk = talk;
    self->pairing = 1;
    Py_RETURN_TRUE;
}

static PyObject *scanner_unpair(PyObject *object, PyObject *args)
{
    Scanner *self = (Scanner *)object;
    const char *key;
    Py_ssize_t key_size;
    if (!PyArg_ParseTuple(args, "y#:unpair", &key, &key_size) || is_busy(self))
        return NULL;
    Lane *lane = is_key(key_size) ? find_lane(self, (const uint8_t *)key, (size_t)key_size) : NULL;
    if (lane == NULL || lane->talk == NULL)
        Py_RETURN_NONE;
    PyObject *calls = calls_of(lane->talk);
    if (calls != NULL)
        end_talk(self, lane->talk);
    return calls;
}

static PyObject *scanner_paired(PyObject *object, PyObject *Py_UNUSED(ignored))
{
    Scanner *self = (Scanner *)object;
    if (is_busy(self))
        return NULL;
    return Py_BuildValue("(y#y#K)", self->out.data ? self->out.data : "", (Py_ssize_t)self->out.size,
                         self->closed.data ? self->closed.data : "", (Py_ssize_t)self->closed.size,
                         (unsigned long long)self->presented);
}

/* The faces of a scan: a tuple of (link type, ns per tick or 0, offset in ns). */
static int parse_faces(PyObject *tuple, Interface *faces, size_t most, size_t *count)
{
    *count = (size_t)PyTuple_Size(tuple) < most ? (size_t)PyTuple_Size(tuple) : most;
    for (size_t i = 0; i < *count; i++) {
        unsigned long long ns;
        long long offset;
        unsigned int link;
        PyObject *item = PyTuple_GetItem(tuple, (Py_ssize_t)i);
        if (!PyTuple_Check(item) || !PyArg_ParseTuple(item, "IKL", &link, &ns, &offset))
            return 0;
        faces[i].link = link;
        faces[i].ns = ns;
        faces[i].offset = offset;
    }
    return 1;
}

static PyObject *scanner_scan(PyObject *object, PyObject *args)
{
    enum { FACES = 64 };
    Scanner *self = (Scanner *)object;
    Interface faces[FACES];
    Py_buffer buffer;
    Py_ssize_t pos, limit;
    int big, blocks;
    unsigned int most = 1;
    unsigned long long messages, packets, exchanges = 0;
    long long start_ns;
    size_t count;
    PyObject *tuple;
    if (!PyArg_ParseTuple(args, "y*nppnO!KKL|IK:scan", &buffer, &pos, &blocks, &big, &limit, &PyTuple_Type, &tuple,
                          &messages, &packets, &start_ns, &most, &exchanges))
        return NULL;
    if (is_busy(self) || pos < 0 || pos > buffer.len || limit < 0 || !parse_faces(tuple, faces, FACES, &count) || (!blocks && count != 1)) {
        PyBuffer_Release(&buffer);
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "no such position or interfaces");
        return NULL;
    }
    const uint8_t *first = buffer.buf;
    Packets of = {first + pos, first + buffer.len, blocks, big, faces, count, (size_t)limit};
    if (self->found && (PyList_SetSlice(self->found, 0, PyList_Size(self->found), NULL) < 0 ||
                        PyList_SetSlice(self->connections, 0, PyList_Size(self->connections), NULL) < 0)) {
        PyBuffer_Release(&buffer);
        return NULL;
    }
    self->busy = 1;
    self->out.size = 0;
    self->messages = messages;
    self->packets = packets;
    self->shown = self->failures = self->held = self->presented = 0;
    self->has_data = 0;
    self->closed.size = self->rows.size = self->frames.size = 0;
    self->call_lane = NULL;
    self->exchanges = exchanges;
    self->start_ns = start_ns;
    int status = scan_packets(self, &of);
    if (self->call_lane != NULL && (status == OK || status == REFUSED)) {
        const int released = release_call(self);
        status = released ? released : status;
    }
    self->busy = 0;
    pos = of.at - first;
    const uint32_t left = status == REFUSED ? strays(self, of, most) : 0;
    PyBuffer_Release(&buffer);
    if (status == RAISED)
        return NULL;
    if (status == NO_MEMORY)
        return PyErr_NoMemory();
    PyObject *data = self->found ? PyList_AsTuple(self->found)
                                 : PyBytes_FromStringAndSize(self->out.data, (Py_ssize_t)self->out.size);
    if (data == NULL || (self->found && PyList_SetSlice(self->found, 0, PyList_Size(self->found), NULL) < 0)) {
        Py_XDECREF(data);
        return NULL;
    }
    PyObject *data_ns = self->has_data ? PyLong_FromLongLong(self->last_data_ns) : Py_NewRef(Py_None);
    return Py_BuildValue("(nNKKKKLNI)", pos, data, (unsigned long long)(self->messages - messages), (unsigned long long)self->shown,
                         (unsigned long long)self->failures,
                         (unsigned long long)(self->packets - packets), (long long)self->last_ns,
                         data_ns, (unsigned int)left);
}

static PyMethodDef scanner_methods[] = {
    {"learn", scanner_learn, METH_VARARGS,
     "learn(key, row, failed, parts)\n--\n\nAdd the line of a kind of message, () for one that is not shown; False if there is no room."},
    {"learn_exchange", scanner_learn_exchange, METH_VARARGS,
     "learn_exchange(key, parts)\n--\n\nAdd the line of the exchanges that a learned kind of reply completes, () for those"
     " that are not shown; False if it is known."},
    {"learn_routine", scanner_learn_routine, METH_VARARGS,
     "learn_routine(key)\n--\n\nLet messages of a learned kind of call or reply be in rows where they follow each other;"
     " return the number of the kind, None if it is none."},
    {"routine", scanner_routine, METH_NOARGS,
     "routine()\n--\n\nRoutine exchanges of the last scan: (rows, frames, connections)."},
    {"pair", scanner_pair, METH_VARARGS,
     "pair(key, id, conn, keys)\n--\n\nPair the calls of a connection from now on, except for those that are open (program,"
     " version, serial); False unless both directions are open."},
    {"unpair", scanner_unpair, METH_VARARGS,
     "unpair(key)\n--\n\nGive the calls of a connection back, that have no reply: (id, calls sent, lowest serial, last message,"
     " [(message, time, packet, position, frame)]); None if they are not paired."},
    {"paired", scanner_paired, METH_NOARGS,
     "paired()\n--\n\nExchanges of the last scan: (lines, keys, messages in the lines)."},
    {"open", scanner_open, METH_VARARGS,
     "open(key, next, direction, conn)\n--\n\nTake over a direction in step; False if there is no room."},
    {"take", scanner_take, METH_VARARGS,
     "take(key)\n--\n\nGive a direction back: (next sequence number, pending bytes, last packet); None for no lane."},
    {"scan", scanner_scan, METH_VARARGS,
     "scan(buffer, pos, blocks, big, limit, interfaces, messages, packets, start_ns, most=1)\n--\n\nRead packets up to the"
     " first one that Python has to look at: (position, lines, messages, lines' messages, failures, packets, time of the last"
     " packet, and of the last one with data or None, number of packets from there on without a lane, up to `most`)."},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot scanner_slots[] = {
    {Py_tp_doc, "Scanner(plan, fault_names)\n--\n\nLines of the messages in captures, by lanes that Python opens."},
    {Py_tp_new, scanner_new},
    {Py_tp_dealloc, scanner_dealloc},
    {Py_tp_traverse, scanner_traverse},
    {Py_tp_clear, scanner_clear},
    {Py_tp_methods, scanner_methods},
    {0, NULL},
};

static PyType_Spec scanner_spec = {"libvirt_proto._native.Scanner", sizeof(Scanner), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
                                   scanner_slots};

/* ---- the module ---- */

static int module_exec(PyObject *module)
{
    PyType_Spec *specs[] = {&plan_spec, &scanner_spec, &memory_spec, &columns_spec};
    const char *names[] = {"Plan", "Scanner", "Memory", "Columns"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        PyObject *type = PyType_FromModuleAndSpec(module, specs[i], NULL);
        if (type == NULL || PyModule_AddObjectRef(module, names[i], type) < 0) {
            Py_XDECREF(type);
            return -1;
        }
        Py_DECREF(type);
    }
    return PyModule_AddIntConstant(module, "FORMAT", FORMAT) || PyModule_AddStringConstant(module, "SOURCE", SOURCE_HASH);
}

static PyModuleDef_Slot module_slots[] = {{Py_mod_exec, module_exec}, {0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "libvirt_proto._native", "The native core.", 0, NULL, module_slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
