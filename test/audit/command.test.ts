import { describe, expect, it } from 'vitest';
import { callersOf, clientCommand, commandOf } from '../../src/audit/command.js';

const of = (executable: string | undefined, ...args: string[]) =>
  commandOf({ name: 'name', ...(executable === undefined ? {} : { executable }), args });

describe('the command of a client', () => {
  it.each([
    [['/usr/bin/curl', 'curl', '-s', 'http://100.100.100.200/'], 'curl'],
    [['/usr/bin/python3.11', 'python3', '-u', '/opt/sync.py', '--once'], 'python3.11 /opt/sync.py'],
    [['/usr/bin/python3.11', 'python3', '-W', 'ignore', '-m', 'awscli', 's3'], 'python3.11 -m awscli'],
    [['/usr/bin/python3.11', 'python3', '-Im', 'pip'], 'python3.11 -Im pip'],
    [['/usr/bin/python3.11', 'python3', '-c', 'import os'], 'python3.11 -c'],
    [['/usr/bin/node', 'node', '--max-old-space-size=64', '-r', './hook.js', 'app.js', '1'], 'node app.js'],
    [['/usr/bin/node', 'node', '-e', 'fetch()'], 'node -e'],
    [['/bin/bash', 'bash', '-lc', 'x'], 'bash -lc'],
    [['/bin/bash', '/bin/bash', './run.sh', 'prod'], 'bash ./run.sh'],
    [['/bin/dash', 'sh', '-o', 'errexit', 'a.sh'], 'dash a.sh'],
    [['/opt/jdk/bin/java', 'java', '-Xmx1g', '-cp', 'a.jar:b.jar', 'com.example.Main', 'x'], 'java com.example.Main'],
    [['/opt/jdk/bin/java', 'java', '-Dx=1', '-jar', '/srv/app.jar'], 'java -jar /srv/app.jar'],
    [['/usr/bin/ruby3.1', 'ruby', '-I', 'lib', 'x.rb'], 'ruby3.1 x.rb'],
    [['/usr/bin/php8.2', 'php', '-f', 'x.php'], 'php8.2 -f x.php'],
    [['/bin/busybox', 'wget', '-qO-', 'http://100.100.100.200/'], 'busybox wget'],
    [['/bin/busybox', 'busybox', 'wget', 'x'], 'busybox wget'],
    [['/usr/local/bin/agent (deleted)', 'agent: worker 7'], 'agent'],
  ])('of %j is %s', ([executable, ...args], command) => {
    expect(of(executable, ...args)).toBe(command);
  });

  it('is of what is known', () => {
    expect(of(undefined, '/usr/bin/curl', 'x')).toBe('curl');
    expect(commandOf({ name: 'kthread' })).toBe('kthread');
    expect(commandOf({ name: '' })).toBeUndefined();
    expect(commandOf({ name: 'x', executable: '/usr/bin/python3' })).toBe('python3');
  });

  it('is bounded, however many options there are', () => {
    expect(of('/usr/bin/python3', 'python3', 'x'.repeat(10_000))!.length).toBeLessThan(300);
    expect(of('/usr/bin/python3', 'python3', ...Array.from({ length: 10_000 }, () => '-v'), 'x.py')).toBe('python3');
  });

  it('of a tool names the script that runs it', () => {
    const curl = { pid: 3, name: 'curl', executable: '/usr/bin/curl', args: ['curl'] };
    const sh = { pid: 2, name: 'sh', executable: '/bin/dash', args: ['sh', '-c', 'curl x'] };
    const script = { pid: 1, name: 'x', executable: '/bin/bash', args: ['bash', '/opt/x.sh'] };
    expect(clientCommand({ ...curl, ancestors: [sh, script] })).toBe('curl <- bash /opt/x.sh');
    expect(clientCommand({ ...curl, ancestors: [sh] })).toBe('curl');
    expect(clientCommand({ ...script, ancestors: [sh] })).toBe('bash /opt/x.sh');
    expect(callersOf([sh, script])).toBe('dash -c <- bash /opt/x.sh');
  });
});
