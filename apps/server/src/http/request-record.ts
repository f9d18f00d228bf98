/** What is logged and counted of one request. */

import { randomUUID } from "node:crypto";
import type { ServerMetrics } from "../metrics/server-metrics.js";
import type { WireUsage } from "../openai/usage.js";
import { errorFields } from "./logger.js";
import type { Logger } from "./logger.js";

/** One request on its way. */
export interface RequestRecord {
  readonly id: string;
  /** Set once known. */
  model: string | undefined;
  usage: WireUsage | undefined;
  /** True when the answer goes on after the handler has returned: whoever writes it calls `end`. */
  streaming: boolean;
  /** The error behind a 5xx, for the log. */
  failure: unknown;
  /** Logs and counts the request; later calls do nothing. */
  end(status: number): void;
}

/** Ids that clients may choose. */
const idPattern = /^[\w.:-]{1,128}$/;

/** Starts a record. @param givenId the client's own id, taken when it is well formed */
export function createRequestRecord(options: { readonly method: string; readonly path: string; readonly endpoint: string; readonly givenId: string | undefined; readonly logger: Logger; readonly metrics: ServerMetrics }): RequestRecord {
  const { method, path, endpoint, givenId, logger, metrics } = options;
  const started = performance.now();
  let ended = false;
  const record: RequestRecord = {
    id: givenId !== undefined && idPattern.test(givenId) ? givenId : randomUUID(),
    model: undefined,
    usage: undefined,
    streaming: false,
    failure: undefined,
    end(status) {
      if (ended) return;
      ended = true;
      const seconds = (performance.now() - started) / 1000;
      metrics.requestEnded({ endpoint, model: record.model ?? "", status }, seconds);
      const { usage } = record;
      logger.log(status >= 500 ? "error" : endpoint.startsWith("/v1/") && endpoint !== "/v1/cache" && endpoint !== "/v1/metrics/history" && endpoint !== "/v1/fidelity" ? "info" : "debug", "request", {
        id: record.id,
        method,
        path: path.slice(0, 200),
        status,
        seconds: Number(seconds.toFixed(4)),
        model: record.model,
        promptTokens: usage?.prompt_tokens,
        cachedTokens: usage?.prompt_tokens_details.cached_tokens,
        completionTokens: usage?.completion_tokens,
        firstTokenSeconds: usage === undefined ? undefined : Number(usage.kvquant.first_token_seconds.toFixed(4)),
        ...(status >= 500 && record.failure !== undefined && errorFields(record.failure)),
      });
    },
  };
  return record;
}
