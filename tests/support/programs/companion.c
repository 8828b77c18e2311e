// SPDX-FileCopyrightText: 2026 The L3AF Bus authors
// SPDX-License-Identifier: Apache-2.0
// A companion for tests: reads one per-CPU counter of its package and says what it finds.
#include <linux/bpf.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define MAX_CPUS 4096

static volatile sig_atomic_t ends;

static void end(int signal_number)
{
	(void)signal_number;
	ends = 1;
}

static const char *argument(int argc, char **argv, const char *name, const char *other)
{
	size_t length = strlen(name);

	for (int index = 1; index < argc; index++)
		if (!strncmp(argv[index], "--", 2) && !strncmp(argv[index] + 2, name, length) &&
		    argv[index][2 + length] == '=')
			return argv[index] + length + 3;
	return other;
}

static void say_ready(void)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int channel = socket(AF_UNIX, SOCK_DGRAM, 0);

	if (!path || channel < 0)
		return;
	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (address.sun_path[0] == '@')
		address.sun_path[0] = 0;
	sendto(channel, "READY=1", 7, 0, (struct sockaddr *)&address,
	       offsetof(struct sockaddr_un, sun_path) + strlen(path));
	close(channel);
}

static int open_map(const char *name)
{
	static char path[512];
	union bpf_attr attributes;
	const char *folder = getenv("L3AF_MAPS");

	snprintf(path, sizeof(path), "%s/%s", folder ? folder : "", name);
	memset(&attributes, 0, sizeof(attributes));
	attributes.pathname = (unsigned long)path;
	return syscall(SYS_bpf, BPF_OBJ_GET, &attributes, sizeof(attributes));
}

static long long total(int map)
{
	static unsigned long long values[MAX_CPUS];
	union bpf_attr attributes;
	unsigned int key = 0;
	long long sum = 0;

	memset(values, 0, sizeof(values));
	memset(&attributes, 0, sizeof(attributes));
	attributes.map_fd = map;
	attributes.key = (unsigned long)&key;
	attributes.value = (unsigned long)values;
	if (syscall(SYS_bpf, BPF_MAP_LOOKUP_ELEM, &attributes, sizeof(attributes)))
		return -1;
	for (int cpu = 0; cpu < MAX_CPUS; cpu++)
		sum += values[cpu];
	return sum;
}

int main(int argc, char **argv)
{
	const char *label = argument(argc, argv, "label", "");
	int exits = atoi(argument(argc, argv, "exits", "-1"));
	int map = open_map("pc_packets");

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (exits >= 0) {
		fprintf(stderr, "exits as it was told\n");
		return exits;
	}
	if (map < 0) {
		perror("pc_packets");
		return 3;
	}
	signal(SIGTERM, end);
	say_ready();
	printf("%s counts for %s on %s\n", label, getenv("L3AF_DEPLOYMENT"),
	       getenv("L3AF_INTERFACE"));
	for (long long last = -1; !ends; usleep(50000)) {
		long long now = total(map);

		if (now != last)
			printf("%s packets %lld\n", label, now);
		last = now;
	}
	printf("%s ends\n", label);
	return 0;
}
