/** What happened to a scope: the data of a frame, see the manual's page on HTTP. */
export interface ChangeEvent {
  /** In canonical form: bytes outside A-Za-z0-9_.:@/+=~- are percent-encoded. */
  scope: string
  /** reset: fetch again, something may have been missed. */
  op: 'insert' | 'update' | 'delete' | 'reset' | 'publish'
  table?: string
  /** An integer beyond Number.MAX_SAFE_INTEGER is the string of its digits, here and in data. */
  key?: Record<string, unknown>
  changed?: string[]
  moved?: 'in' | 'out'
  origin?: string
  data?: unknown
  /** Why a reset. */
  reason?: string
  at?: string
  /** For how many events this one stands, if for more than one. What is not true of all is left out: key, table and data, say. */
  coalesced?: number
}

/** waiting: until the next try. closed: for good. */
export type Status = 'connecting' | 'open' | 'waiting' | 'closed'

export interface Options {
  /** Scopes to hear from the start, and for as long as the connection lives. */
  scopes?: string[]
  /** pgbell.cursor() of the query that filled the page: spares `scopes` their first reset. */
  since?: string
  /** Sent as Authorization: Bearer. The function is asked before each try; renew is true if its last token was refused or has expired. */
  token?: string | ((renew: boolean) => string | Promise<string>)
  /** Sent with each request for a stream, for a proxy, say. The function is asked before each try. */
  headers?: HeadersInit | (() => HeadersInit | Promise<HeadersInit>)
  /** Names who is logged in. Tabs of one origin with the same url and key share one stream; without a key, those with the same token string do. */
  key?: string
  /** false: a stream for this connection alone. The default is true. */
  shared?: boolean
  /** Changes with this origin are left out: the echo of one's own. */
  origin?: string
  /** A burst on a scope comes as its last event, at most so much later: milliseconds or a Go duration. */
  coalesce?: number | string
  /** A random delay of up to so much, so that many clients do not fetch at once: milliseconds or a Go duration. */
  spread?: number | string
  /** As for fetch. The default is 'same-origin'. */
  credentials?: RequestCredentials
}

/** Arguments of a live query, by name. */
export type LiveArgs = Record<string, string | number | bigint | boolean>

/**
 * The live queries of an app, by name, each with its args and its row. `pgbell types` writes them; they are added by
 *
 *     declare module 'pgbell' { interface Lives { board: {args: {p: number}; row: {id: number; title: string}} } }
 */
export interface Lives {}

export interface Connection {
  readonly status: Status
  /** Why it is waiting or closed. */
  readonly reason: string
  onstatus: ((status: Status, reason: string) => void) | null
  /** Resolves once all scopes asked for are live, rejects if the connection is closed before. */
  readonly ready: Promise<void>
  /**
   * Calls fn with each event of scope, from the first reset on. The result ends that. Throws if there are too many scopes.
   *
   * If fn returns a promise, it isn't called until that is settled, and then once for all that came meanwhile: with the only
   * event, else with one that stands for all (coalesced). If it was rejected, fn is called with a reset: after a while, or
   * when the next event comes.
   */
  on(scope: string, fn: (event: ChangeEvent) => unknown): () => void
  /**
   * Calls fn with the rows of a live query: at first, and again when they are others. The result ends that. They are not to
   * be changed: other listeners get the same. A promise that fn returns is treated as with on; if it was rejected, fn is
   * called with the latest rows.
   *
   * While the rows can't be told, since the query fails, onreset is called with the reason, and fn once they can be again.
   * Without onreset that is reported as an error.
   */
  live<Name extends keyof Lives>(name: Name, args: Lives[Name]['args'], fn: (rows: Lives[Name]['row'][]) => unknown, onreset?: (reason: string) => void): () => void
  live<Row = Record<string, unknown>>(name: string, args: LiveArgs | null | undefined, fn: (rows: Row[]) => unknown, onreset?: (reason: string) => void): () => void
  close(): void
}

/** On a server that renders a page, where a path is no address, the connection does nothing. */
export declare function connect(url: string | URL, options?: Options): Connection

/** The form in which the server has a scope. */
export declare function canonical(scope: string): string
