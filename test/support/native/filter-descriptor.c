// Puts a packet filter on a TCP listener of another process, as machine code in that process would: no privilege is needed for a socket
// that one has. Connections that are accepted from it inherit the filter. Usage: filter-descriptor PID DESCRIPTOR deaf|mute; needs root.
// deaf: every packet is dropped. mute: handshakes pass, requests are dropped, and the filter cannot be taken off.

#include <linux/filter.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

// A handshake is a header with its options, 60 bytes at most.
static struct sock_filter mute[] = {
    {BPF_LD | BPF_W | BPF_LEN, 0, 0, 0},
    {BPF_JMP | BPF_JGT | BPF_K, 0, 1, 60},
    {BPF_RET | BPF_K, 0, 0, 0},
    {BPF_RET | BPF_K, 0, 0, 0xffffffff},
};
static struct sock_filter deaf[] = {{BPF_RET | BPF_K, 0, 0, 0}};

int main(int count, char **words) {
  if (count != 4) return 2;
  int is_mute = strcmp(words[3], "mute") == 0;
  struct sock_fprog program = {is_mute ? 4 : 1, is_mute ? mute : deaf};
  int process = (int)syscall(SYS_pidfd_open, atoi(words[1]), 0);
  int descriptor = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, atoi(words[2]), 0);
  int on = 1;
  if (descriptor < 0 || setsockopt(descriptor, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) != 0 ||
      (is_mute && setsockopt(descriptor, SOL_SOCKET, SO_LOCK_FILTER, &on, sizeof on) != 0)) {
    perror("filter-descriptor");
    return 1;
  }
  return 0;
}
