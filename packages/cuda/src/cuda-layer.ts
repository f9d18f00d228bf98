/** One layer of one sequence on the device: what it lacks is uploaded with the attention that needs it. */

import type { CachePage, LayerAttention, PageAttentionCall } from "@kvquant/cache";
import { awaitNative, callNative } from "@kvquant/spec";
import type { CacheShape, EncodedBlock } from "@kvquant/spec";

import { loadAddon } from "./addon.js";
import type { AddonAttend, AddonLayer } from "./addon.js";
import type { AttendSequence } from "./attend-together.js";

/** A page on the device is one of the host's as long as its blocks are the same objects: blocks never change. */
interface Mirrored {
  readonly key: EncodedBlock;
  readonly value: EncodedBlock;
}

/** Blocks of a page as they lie on the device. */
export interface DevicePage {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

/** A layer on the device. */
export interface CudaLayer extends LayerAttention {
  /** Bytes it takes there; pages shared with forks count in each. @throws DISPOSED */
  deviceBytes(): number;
  /** Copies its closed pages back. @throws DISPOSED */
  downloadPages(): Promise<DevicePage[]>;
}

/** What the same layer of all sequences of a plan has in common. */
export interface CudaLayerContext {
  readonly shape: CacheShape;
  /** Attends with the calls of other sequences that arrive together with it. */
  readonly attend: AttendSequence;
  /** Is told of forks. */
  readonly onFork: (fork: CudaLayer) => void;
}

/** Wraps a layer of the addon, which holds the pages `mirrored` so far. */
export function createCudaLayer(context: CudaLayerContext, handle: AddonLayer, mirrored: readonly Mirrored[] = []): CudaLayer {
  const { shape } = context;
  const columns = shape.kvHeads * shape.headDim;
  let pages = [...mirrored];
  return {
    deviceBytes: () => callNative(() => handle.bytes()),
    async downloadPages() {
      const downloaded: DevicePage[] = [];
      for (const [index, { key, value }] of pages.entries()) {
        const page = { key: new Uint8Array(key.bytes.length), value: new Uint8Array(value.bytes.length) };
        await awaitNative(async () => handle.downloadPage(index, page.key, page.value));
        downloaded.push(page);
      }
      return downloaded;
    },
    async attend(call) {
      const same = countSame(pages, call.pages);
      callNative(() => handle.keepPages(same));
      pages = pages.slice(0, same);
      const added = call.pages.slice(same);
      try {
        await context.attend({
          layer: handle,
          columns,
          queryColumns: shape.queryHeads * shape.headDim,
          pages: added.map(({ key, value }) => ({ key: key.bytes, value: value.bytes, encodedTokens: key.tokens })),
          starts: Float64Array.from(call.pages, ({ start }) => start),
          tokens: Uint32Array.from(call.pages, ({ tokens }) => tokens),
          length: call.length,
          rows: missingRows(handle, call, columns),
          queries: call.q.data,
          first: call.length - call.q.rows,
          visible: call.visible,
          out: call.out.data,
        });
      } finally {
        // After a failure some of the pages may be there.
        pages = call.pages.slice(0, callNative(() => handle.pages()));
      }
    },
    forget: (position) => callNative(() => handle.forget(position)),
    fork() {
      const fork = createCudaLayer(context, callNative(() => new (loadAddon().Layer)(handle)), pages);
      context.onFork(fork);
      return fork;
    },
    release: () => handle.dispose(),
  };
}

function countSame(mirrored: readonly Mirrored[], pages: readonly CachePage[]): number {
  let same = 0;
  while (same < mirrored.length && same < pages.length && mirrored[same]!.key === pages[same]!.key && mirrored[same]!.value === pages[same]!.value) same++;
  return same;
}

/** Exact tokens that some query sees and the device lacks: sinks, then those behind the pages. */
function missingRows(handle: AddonLayer, call: PageAttentionCall, columns: number): AddonAttend["rows"] {
  const [sink, open] = callNative(() => handle.missing(call.exactFrom));
  const ranges = [
    { first: sink, count: call.sinks - sink },
    { first: open, count: call.length - open },
  ];
  return ranges
    .filter(({ count }) => count > 0)
    .map(({ first, count }) => {
      const keys = new Float32Array(count * columns);
      const values = new Float32Array(count * columns);
      call.readExact({ first, count }, keys, values);
      return { position: first, count, keys, values };
    });
}
