/* A V4L2 camera that is not there: LD_PRELOAD this, and /dev/video9 delivers grey YUYV pictures, 320x240, 25 a second.
 *
 * It stalls while the file $FAKE_V4L2/stall exists, and is unplugged while $FAKE_V4L2/gone exists.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { WIDTH = 320, HEIGHT = 240, BYTES = WIDTH * HEIGHT * 2, BUFFERS = 256 };

static int device = -1, nonblocking, buffers, pictures;
static double next_s;
static uint8_t memory[BUFFERS * BYTES];

static int file_exists(const char *name) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", getenv("FAKE_V4L2"), name);
    return access(path, F_OK) == 0;
}

static double now_s(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

int open(const char *path, int flags, ...) {
    int (*real)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    if (strcmp(path, "/dev/video9") != 0) return real(path, flags, mode);
    if (file_exists("gone")) return errno = ENOENT, -1;
    nonblocking = (flags & O_NONBLOCK) != 0;
    return device = real("/dev/null", O_RDWR);
}

int open64(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    mode_t mode = va_arg(rest, int);
    va_end(rest);
    return open(path, flags | O_LARGEFILE, mode);
}

int close(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "close");
    if (file == device) device = -1;
    return real(file);
}

void *mmap(void *address, size_t length, int rights, int flags, int file, off_t offset) {
    void *(*real)(void *, size_t, int, int, int, off_t) = dlsym(RTLD_NEXT, "mmap");
    return file >= 0 && file == device ? memory + offset : real(address, length, rights, flags, file, offset);
}

void *mmap64(void *address, size_t length, int rights, int flags, int file, off_t offset) {
    return mmap(address, length, rights, flags, file, offset);
}

int munmap(void *address, size_t length) {
    int (*real)(void *, size_t) = dlsym(RTLD_NEXT, "munmap");
    uint8_t *start = address;
    return start >= memory && start < memory + sizeof memory ? 0 : real(address, length);
}

static int deliver(struct v4l2_buffer *buffer) {
    while (file_exists("stall") || now_s() < next_s) {
        if (nonblocking) return errno = EAGAIN, -1;
        usleep(1000);
    }
    next_s = now_s() + 0.04;
    buffer->index = pictures++ % buffers;
    buffer->bytesused = buffer->length = BYTES;
    buffer->flags = 0;
    gettimeofday(&buffer->timestamp, NULL);
    memset(memory + buffer->index * BYTES, 128, BYTES);
    return 0;
}

static int answer(unsigned request, void *argument) {
    if (file_exists("gone")) return errno = ENODEV, -1;
    switch (request) {
    case (unsigned)VIDIOC_QUERYCAP:
        ((struct v4l2_capability *)argument)->capabilities = V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_STREAMING;
        return 0;
    case (unsigned)VIDIOC_ENUMINPUT:
        return ((struct v4l2_input *)argument)->index == 0 ? 0 : (errno = EINVAL, -1);
    case (unsigned)VIDIOC_G_FMT:
    case (unsigned)VIDIOC_S_FMT: {
        struct v4l2_pix_format *format = &((struct v4l2_format *)argument)->fmt.pix;
        format->width = WIDTH;
        format->height = HEIGHT;
        format->pixelformat = V4L2_PIX_FMT_YUYV;
        format->field = V4L2_FIELD_NONE;
        format->bytesperline = WIDTH * 2;
        format->sizeimage = BYTES;
        return 0;
    }
    case (unsigned)VIDIOC_G_PARM:
    case (unsigned)VIDIOC_S_PARM:
        ((struct v4l2_streamparm *)argument)->parm.capture.timeperframe = (struct v4l2_fract){1, 25};
        return 0;
    case (unsigned)VIDIOC_REQBUFS:
        buffers = ((struct v4l2_requestbuffers *)argument)->count;
        return 0;
    case (unsigned)VIDIOC_QUERYBUF:
        ((struct v4l2_buffer *)argument)->length = BYTES;
        ((struct v4l2_buffer *)argument)->m.offset = ((struct v4l2_buffer *)argument)->index * BYTES;
        return 0;
    case (unsigned)VIDIOC_DQBUF:
        return deliver(argument);
    case (unsigned)VIDIOC_G_INPUT:
        *(int *)argument = 0;
        return 0;
    case (unsigned)VIDIOC_S_INPUT:
    case (unsigned)VIDIOC_QBUF:
    case (unsigned)VIDIOC_STREAMON:
    case (unsigned)VIDIOC_STREAMOFF:
        return 0;
    default:
        return errno = EINVAL, -1;
    }
}

int ioctl(int file, unsigned long request, ...) {
    int (*real)(int, unsigned long, ...) = dlsym(RTLD_NEXT, "ioctl");
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    return file >= 0 && file == device ? answer((unsigned)request, argument) : real(file, request, argument);
}
