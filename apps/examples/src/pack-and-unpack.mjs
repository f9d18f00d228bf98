// Bit packing: codes of 3 bits as a plain stream, and in the lanes that the attention kernels read.
import { keyLanes, linear } from "@kvquant/packing";

const codes = Uint8Array.of(1, 7, 0, 5, 3, 2, 6, 4);
const stream = linear(3);
const bytes = stream.pack(codes);
console.log(`${codes.length} codes in ${bytes.length} bytes: ${[...bytes].map((byte) => byte.toString(2).padStart(8, "0")).join(" ")}`);
console.log(`back: ${stream.unpack(bytes, codes.length).join(" ")}`);

const page = Uint8Array.from({ length: 64 * 128 }, (_, index) => (index * 5) % 8); // 64 tokens of one KV head of 128 channels
const lanes = keyLanes(3, 128);
const packed = lanes.pack(page);
const same = lanes.unpack(packed).every((code, index) => code === page[index]);
console.log(`${lanes.id}: ${page.length} codes in ${packed.length} bytes, ${same ? "the same after unpacking" : "DIFFERENT after unpacking"}`);
