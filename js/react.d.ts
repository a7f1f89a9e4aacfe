import type {Connection, LiveArgs, Lives} from './pgbell.js'

export interface LiveRows<Row> {
  /** undefined until they are there. */
  rows: Row[] | undefined
  /** Why they may be old, empty if they aren't. */
  stale: string
}

/** The rows of a live query. The component renders again when they are others; unchanged rows are the same objects in the tab that has the stream. */
export declare function useLive<Name extends keyof Lives>(bell: Connection, name: Name, args: Lives[Name]['args']): LiveRows<Lives[Name]['row']>
export declare function useLive<Row = Record<string, unknown>>(bell: Connection, name: string, args?: LiveArgs | null): LiveRows<Row>
