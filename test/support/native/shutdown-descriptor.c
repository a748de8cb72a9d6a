// Shuts down a descriptor of another process, as machine code in that process would: its listeners are shared with whoever
// handed them over. Usage: shutdown-descriptor PID DESCRIPTOR; needs root.

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int count, char **words) {
  if (count != 3) return 2;
  int process = (int)syscall(SYS_pidfd_open, atoi(words[1]), 0);
  int descriptor = process < 0 ? -1 : (int)syscall(SYS_pidfd_getfd, process, atoi(words[2]), 0);
  if (descriptor < 0 || shutdown(descriptor, SHUT_RDWR) != 0) {
    perror("shutdown-descriptor");
    return 1;
  }
  return 0;
}
