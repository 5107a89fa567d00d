# The native capture module: a plain shared library for FFI, no Node addon. `npm run build:native` runs this through
# native/build.mjs, which says in `static_libraries` what to link in.
{
  'variables': {
    'static_libraries%': [],
    'zstd%': 0,
    'multiarch': '<!(gcc -dumpmachine)',
  },
  'targets': [
    {
      'target_name': 'imds_capture',
      'type': 'loadable_module',
      'target_conditions': [['OS=="linux"', {'product_extension': 'so'}]], # after node-gyp has set 'node'
      'sources': [
        'native/capture.c',
        'native/source_ebpf.c',
        'native/ebpf_host.c',
        'native/ebpf_load.c',
        'native/ebpf_selftest.c',
        'native/ebpf_probe.c',
        'native/static_link.c',
        'native/source_pcap.c',
        'native/source_file.c',
        'native/plain_exchange.c',
        'native/plain_http.c',
        'native/route.c',
        'native/socket_diag.c',
        'native/early_owner.c',
        'native/notify.c',
        'native/patient_read.c',
        'native/file_input.c',
        'native/pcapng.c',
        'native/record_queue.c',
        'native/ring_reader.c',
        'native/squeeze.c',
        'native/malloc.c',
        'native/packet_tap.c',
        'native/tcp_packet.c',
        'native/link_layer.c',
        'native/duplicates.c',
      ],
      'variables': {
        # v2: the instructions of Linux 4.14. Newer clangs would take v3, some of whose atomics Linux 5.10 refuses.
        'clang_bpf': ['clang', '-O2', '-g', '-target', 'bpf', '-mcpu=v2', '-Wall', '-Wextra', '-Werror', '-I/usr/include/<(multiarch)'],
        'bpf_sources': ['native/imds.bpf.c', 'native/record.h'],
      },
      'actions': [
        {
          'action_name': 'bpf_core',
          'inputs': ['<@(bpf_sources)'],
          'outputs': ['<(INTERMEDIATE_DIR)/imds.core.bpf.o'],
          'action': ['<@(clang_bpf)', '-c', 'native/imds.bpf.c', '-o', '<@(_outputs)'],
        },
        {
          'action_name': 'bpf_plain',
          'inputs': ['<@(bpf_sources)'],
          'outputs': ['<(INTERMEDIATE_DIR)/imds.plain.bpf.o'],
          'action': ['<@(clang_bpf)', '-DIMDS_NO_CORE', '-c', 'native/imds.bpf.c', '-o', '<@(_outputs)'],
        },
        {
          # A copy, newer than the programs, so that make assembles it again after they changed.
          'action_name': 'embed',
          'inputs': ['native/objects.S', '<(INTERMEDIATE_DIR)/imds.core.bpf.o', '<(INTERMEDIATE_DIR)/imds.plain.bpf.o'],
          'outputs': ['<(INTERMEDIATE_DIR)/objects.S'],
          'action': ['cp', 'native/objects.S', '<@(_outputs)'],
          'process_outputs_as_sources': 1,
        },
      ],
      'defines': ['_GNU_SOURCE'],
      'conditions': [['zstd==1', {'defines': ['IMDS_HAVE_ZSTD']}]],
      'include_dirs': ['native', '<(INTERMEDIATE_DIR)'],
      'cflags': ['-std=gnu11', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'],
      # nodelete: a process that ends in haste unloads the library while a thread is still in its last instructions.
      'ldflags': ['-Wl,-z,nodelete', '-Wl,--version-script=<(module_root_dir)/native/exports.map', '-Wl,--wrap=stderr', '-Wl,-z,defs', '-Wl,-z,relro,-z,now', '-pthread'],
      'libraries': ['<@(static_libraries)', '-lpcap'],
    },
  ],
}
