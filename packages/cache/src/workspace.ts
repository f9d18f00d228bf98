/** Reused buffers of `attend`, shared by the layers and forks of a cache. */

/** Staging buffers; contents are undefined between calls. */
export interface Workspace {
  /** Rotated keys, head-major: `[kvHeads][capacity, headDim]`. */
  keys: Float32Array;
  /** Values, head-major like `keys`. */
  values: Float32Array;
  /** Rotated queries, `[queries, queryHeads * headDim]`. */
  queries: Float32Array;
  /** Queries of one run and KV head, `[group * queries, headDim]`. */
  runQueries: Float32Array;
  /** Results of one run and KV head. */
  runOut: Float32Array;
  /** One page over all KV heads, `[64, kvHeads * headDim]`. */
  page: Float32Array;
}

/** Hands out workspaces: one suffices as long as layers attend one after another. */
export interface WorkspacePool {
  acquire(): Workspace;
  release(workspace: Workspace): void;
}

/** Makes an empty pool, which keeps one workspace. */
export function createWorkspacePool(): WorkspacePool {
  let kept: Workspace | undefined;
  return {
    acquire() {
      const workspace = kept ?? createWorkspace();
      kept = undefined;
      return workspace;
    },
    release(workspace) {
      kept ??= workspace;
    },
  };
}

/** Makes buffer `name` hold at least `length` numbers, growing by half; contents are lost when it grows. */
export function reserve(workspace: Workspace, name: keyof Workspace, length: number): Float32Array {
  if (workspace[name].length < length) workspace[name] = new Float32Array(Math.max(length, Math.ceil(workspace[name].length * 1.5)));
  return workspace[name];
}

function createWorkspace(): Workspace {
  const empty = new Float32Array(0);
  return { keys: empty, values: empty, queries: empty, runQueries: empty, runOut: empty, page: empty };
}
