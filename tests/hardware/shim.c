/* The kernel's side of /dev/spidev0.0 and /dev/i2c-1, carried to a model in another process.
 *
 * Preloaded into a program (LD_PRELOAD), it answers open, ioctl, read, write, close, stat and
 * access for these two devices and for spidev's bufsiz parameter; everything else goes to libc.
 * Each opened device is a SOCK_SEQPACKET connection to $METERD_BOARD_SOCKET: one packet asks, one
 * packet answers, so the drivers under test are the real ones, unmodified.
 *
 *   question   struct question, then the bytes that the kernel would have copied in
 *   answer     int64 result (negative: -errno), then the bytes to copy out
 *
 * cc -shared -fPIC -O2 -Wall -Wextra -o shim.so shim.c -ldl -lpthread
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/i2c-dev.h>
#include <linux/i2c.h>
#include <linux/spi/spidev.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SPI_PATH "/dev/spidev0.0"
#define I2C_PATH "/dev/i2c-1"
#define BUFSIZ_PATH "/sys/module/spidev/parameters/bufsiz"
#define FD_MAX 1024
#define BYTES_MAX (64 * 1024)

enum { ASK_OPEN = 1, ASK_SETTING, ASK_SPI, ASK_SMBUS, ASK_RDWR, ASK_READ, ASK_WRITE };

struct question {
	uint32_t kind, request, count, argument;
};

static char emulated[FD_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

#define NEXT(function) \
	static __typeof__(&function) next; \
	if (!next) \
		next = (__typeof__(&function))dlsym(RTLD_NEXT, #function)

static int is_emulated(int fd)
{
	return fd >= 0 && fd < FD_MAX && emulated[fd];
}

static int is_device(const char *path)
{
	return path && (!strcmp(path, SPI_PATH) || !strcmp(path, I2C_PATH));
}

/* The parameter of a module that is not loaded here: a file of the test stands for it. */
static const char *real_path(const char *path)
{
	const char *file = getenv("METERD_BOARD_BUFSIZ");
	return path && file && !strcmp(path, BUFSIZ_PATH) ? file : path;
}

/* One question, one answer. A model that is gone is a device that was removed: ENODEV. */
static long ask(int fd, struct question question, const void *in, size_t in_size, void *out,
		size_t out_size)
{
	int64_t result = -ENODEV;
	struct iovec sent[2] = { { &question, sizeof question }, { (void *)in, in_size } };
	struct iovec got[2] = { { &result, sizeof result }, { out, out_size } };
	struct msghdr to = { .msg_iov = sent, .msg_iovlen = 2 };
	struct msghdr from = { .msg_iov = got, .msg_iovlen = 2 };
	ssize_t size = -1;

	pthread_mutex_lock(&lock);
	if (sendmsg(fd, &to, MSG_NOSIGNAL) >= 0)
		do
			size = recvmsg(fd, &from, 0);
		while (size < 0 && errno == EINTR);
	pthread_mutex_unlock(&lock);
	if (size < (ssize_t)sizeof result)
		result = -ENODEV;
	if (result < 0) {
		errno = (int)-result;
		return -1;
	}
	return (long)result;
}

static int open_device(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	const char *socket_path = getenv("METERD_BOARD_SOCKET");
	struct question question = { .kind = ASK_OPEN };
	struct timeval patience = { .tv_sec = 10 }; /* no test hangs on a model that died */
	int fd;

	if (!socket_path || strlen(socket_path) >= sizeof address.sun_path) {
		errno = ENOENT;
		return -1;
	}
	strcpy(address.sun_path, socket_path);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (fd >= FD_MAX || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
	    connect(fd, (struct sockaddr *)&address, sizeof address) ||
	    ask(fd, question, path, strlen(path), NULL, 0) < 0) {
		int reason = errno;
		close(fd);
		errno = reason;
		return -1;
	}
	emulated[fd] = 1;
	return fd;
}

/* The transfers' headers, then all bytes to send; all received bytes come back. */
static long spi_message(int fd, unsigned int request, struct spi_ioc_transfer *transfers)
{
	unsigned int count = _IOC_SIZE(request) / sizeof *transfers, i;
	size_t headers = count * sizeof *transfers, total = 0, at = 0;
	struct question question = { ASK_SPI, request, count, 0 };
	uint8_t *in, *out;
	long result;

	for (i = 0; i < count; i++)
		total += transfers[i].len;
	if (total > BYTES_MAX) {
		errno = EMSGSIZE;
		return -1;
	}
	in = calloc(1, headers + 2 * total + 1);
	if (!in) {
		errno = ENOMEM;
		return -1;
	}
	memcpy(in, transfers, headers);
	for (i = 0; i < count; at += transfers[i++].len)
		if (transfers[i].tx_buf)
			memcpy(in + headers + at, (void *)(uintptr_t)transfers[i].tx_buf,
			       transfers[i].len);
	out = in + headers + total;
	result = ask(fd, question, in, headers + total, out, total);
	for (i = 0, at = 0; result > 0 && i < count; at += transfers[i++].len)
		if (transfers[i].rx_buf)
			memcpy((void *)(uintptr_t)transfers[i].rx_buf, out + at, transfers[i].len);
	free(in);
	return result;
}

static long spi_ioctl(int fd, unsigned int request, void *argument)
{
	struct question question = { ASK_SETTING, request, 0, 0 };
	int writes = _IOC_DIR(request) == _IOC_WRITE;

	if (_IOC_NR(request) == 0 && writes)
		return spi_message(fd, request, argument);
	return ask(fd, question, argument, writes ? _IOC_SIZE(request) : 0,
		   writes ? NULL : argument, writes ? 0 : _IOC_SIZE(request));
}

/* One byte message at a time, as a display needs; the model refuses what it does not know. */
static long i2c_rdwr(int fd, struct i2c_rdwr_ioctl_data *messages)
{
	for (unsigned int i = 0; i < messages->nmsgs; i++) {
		struct i2c_msg *message = &messages->msgs[i];
		int reads = message->flags & I2C_M_RD;
		struct question question = { ASK_RDWR, reads, message->len, message->addr };

		if (ask(fd, question, message->buf, reads ? 0 : message->len,
			reads ? message->buf : NULL, reads ? message->len : 0) < 0)
			return -1;
	}
	return messages->nmsgs;
}

static long i2c_ioctl(int fd, unsigned int request, void *argument)
{
	struct question question = { ASK_SETTING, request, 0, (uint32_t)(uintptr_t)argument };

	if (request == I2C_RDWR)
		return i2c_rdwr(fd, argument);
	if (request == I2C_SMBUS) {
		struct i2c_smbus_ioctl_data *smbus = argument;
		size_t size = smbus->data ? sizeof *smbus->data : 0;
		int reads = smbus->read_write == I2C_SMBUS_READ;

		question = (struct question){ ASK_SMBUS, smbus->read_write, smbus->size,
					      smbus->command };
		return ask(fd, question, smbus->data, size, smbus->data, reads ? size : 0);
	}
	if (request == I2C_FUNCS)
		return ask(fd, question, NULL, 0, argument, sizeof(unsigned long));
	return ask(fd, question, NULL, 0, NULL, 0);
}

int ioctl(int fd, unsigned long request, ...)
{
	va_list arguments;
	void *argument;
	NEXT(ioctl);

	va_start(arguments, request);
	argument = va_arg(arguments, void *);
	va_end(arguments);
	if (!is_emulated(fd))
		return next(fd, request, argument);
	if (_IOC_TYPE(request) == SPI_IOC_MAGIC)
		return (int)spi_ioctl(fd, (unsigned int)request, argument);
	return (int)i2c_ioctl(fd, (unsigned int)request, argument);
}

#define MODE(flags) \
	mode_t mode = 0; \
	if ((flags) & (O_CREAT | __O_TMPFILE)) { \
		va_list arguments; \
		va_start(arguments, flags); \
		mode = va_arg(arguments, mode_t); \
		va_end(arguments); \
	}

#define OPEN(name) \
	int name(const char *path, int flags, ...) \
	{ \
		NEXT(name); \
		MODE(flags); \
		return is_device(path) ? open_device(path) : next(real_path(path), flags, mode); \
	}
#define OPENAT(name) \
	int name(int directory, const char *path, int flags, ...) \
	{ \
		NEXT(name); \
		MODE(flags); \
		return is_device(path) ? open_device(path) : \
					 next(directory, real_path(path), flags, mode); \
	}
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* spidev's own way to bufsiz. */
#define FOPEN(name) \
	FILE *name(const char *path, const char *mode) \
	{ \
		NEXT(name); \
		return next(real_path(path), mode); \
	}
FOPEN(fopen)
FOPEN(fopen64)

ssize_t read(int fd, void *bytes, size_t size)
{
	NEXT(read);
	struct question question = { ASK_READ, 0, (uint32_t)size, 0 };
	return is_emulated(fd) ? ask(fd, question, NULL, 0, bytes, size) : next(fd, bytes, size);
}

ssize_t write(int fd, const void *bytes, size_t size)
{
	NEXT(write);
	struct question question = { ASK_WRITE, 0, (uint32_t)size, 0 };
	return is_emulated(fd) ? ask(fd, question, bytes, size, NULL, 0) : next(fd, bytes, size);
}

int close(int fd)
{
	NEXT(close);
	if (is_emulated(fd))
		emulated[fd] = 0;
	return next(fd);
}

/* Character devices 153:0 and 89:1, which this user may read and write. */
#define STAT(name) \
	int name(const char *path, struct name *status) \
	{ \
		NEXT(name); \
		if (!is_device(path)) \
			return next(real_path(path), status); \
		memset(status, 0, sizeof *status); \
		status->st_mode = S_IFCHR | 0660; \
		status->st_rdev = strcmp(path, SPI_PATH) ? makedev(89, 1) : makedev(153, 0); \
		return 0; \
	}
STAT(stat)
STAT(stat64)

int access(const char *path, int mode)
{
	NEXT(access);
	return is_device(path) ? 0 : next(real_path(path), mode);
}
