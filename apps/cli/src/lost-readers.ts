/** What happens when nobody reads the program's output any more, as after `| head`. */

/** The part of a stream that is watched. */
export interface WatchedStream {
  on(event: "error", listener: (error: NodeJS.ErrnoException) => void): unknown;
}

/**
 * Ends the program quietly when its results have no reader; progress and logs that have none end nothing: a server goes on when the program that
 * took its log has gone. Other errors are thrown.
 */
export function watchReaders({ stdout, stderr }: { readonly stdout: WatchedStream; readonly stderr: WatchedStream }, end: () => void): void {
  const onLost = (lost: () => void) => (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    lost();
  };
  stdout.on("error", onLost(end));
  stderr.on("error", onLost(() => undefined));
}
