import { isIP } from 'node:net';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bracketed, canonicalAddress, formatAddress, isMapped, parseAddress } from '../src/addresses.js';

describe('formatAddress', () => {
  it.each([
    // RFC 5952: leading zeros (4.1), the longest run (4.2.1, 4.2.3), one group is no run (4.2.2), lower case (4.3)
    ['20010db8000000000000000000000001', '2001:db8::1'],
    ['20010db8000000010001000100010001', '2001:db8:0:1:1:1:1:1'],
    ['20010000000000010000000000000001', '2001:0:0:1::1'],
    ['20010db8000000000001000000000001', '2001:db8::1:0:0:1'],
    ['fd000ec2000000000000000000000254', 'fd00:ec2::254'],
    ['00000000000000000000000000000000', '::'],
    ['00000000000000000000000000000001', '::1'],
    ['fe800000000000000000000000000000', 'fe80::'],
    ['00010002000300040005000600070000', '1:2:3:4:5:6:7:0'],
    ['00000000000000000000ffff646464c8', '100.100.100.200'],
    ['00000000000000000000ffff00000000', '0.0.0.0'],
    ['0000000000000000ffff0000646464c8', '::ffff:0:6464:64c8'],
  ])('%s is %s', (hex, text) => {
    expect(formatAddress(Buffer.from(hex, 'hex'))).toBe(text);
  });

  it('agrees with the URL parser of Node for any address', () => {
    const group = fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 0xffff }));
    fc.assert(
      fc.property(fc.array(group, { minLength: 8, maxLength: 8 }), (groups) => {
        const bytes = Buffer.from(groups.flatMap((value) => [value >> 8, value & 255]));
        fc.pre(bytes.compare(Buffer.from('00000000000000000000ffff', 'hex'), 0, 12, 0, 12) !== 0);
        const long = groups.map((value) => value.toString(16)).join(':');
        expect(formatAddress(bytes)).toBe(new URL(`http://[${long}]/`).hostname.slice(1, -1));
      }),
    );
  });
});

describe('parseAddress', () => {
  it('is the inverse of formatAddress', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 16, maxLength: 16 }), (bytes) => {
        expect(parseAddress(formatAddress(Buffer.from(bytes)))).toEqual(Buffer.from(bytes));
      }),
    );
  });

  it.each([
    ['::ffff:100.100.100.200', '00000000000000000000ffff646464c8'],
    ['64:ff9b::192.0.2.33', '0064ff9b0000000000000000c0000221'],
    ['1:2:3:4:5:6:1.2.3.4', '00010002000300040005000601020304'],
    ['FD00:EC2:0:0:0:0:0:254', 'fd000ec2000000000000000000000254'],
  ])('reads %s', (text, hex) => {
    expect(parseAddress(text)?.toString('hex')).toBe(hex);
  });

  it('refuses everything that is no IP address, without throwing', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(parseAddress(text) !== undefined).toBe(isIP(text) !== 0 && !text.includes('%'));
      }),
    );
    expect(parseAddress('fe80::1%eth0')).toBeUndefined();
  });
});

describe('one text for one address', () => {
  it.each([
    ['::FFFF:6464:64c8', '100.100.100.200'],
    ['0:0:0:0:0:0:0:1', '::1'],
    ['169.254.169.254', '169.254.169.254'],
    ['fe80::1%eth0', undefined],
    ['imds.example', undefined],
  ])('of %s is %s', (text, canonical) => {
    expect(canonicalAddress(text)).toBe(canonical);
  });
});

it('knows IPv4 addresses in the form of IPv6', () => {
  expect(['1.2.3.4', '::ffff:1.2.3.4', '::1.2.3.4', '::'].map((text) => isMapped(parseAddress(text)!))).toEqual([
    true,
    true,
    false,
    false,
  ]);
});

it('puts before a port what needs brackets in brackets', () => {
  expect(['fd00::1', '1.2.3.4', 'a.example'].map(bracketed)).toEqual(['[fd00::1]', '1.2.3.4', 'a.example']);
});
