/** What servers tell each other of, beside quantities. */
export const SYNC_EVENT_TYPES = [
  'ANCHOR_CREATED',
  'ANCHOR_DELETED',
  'TRANSFER_CREATED',
  'TRANSFER_UPDATED',
  'TRANSFER_DELETED',
  'STORAGE_DEPOSIT',
  'STORAGE_WITHDRAW',
  'STORAGE_SYNC_FULL',
  'SERVER_JOIN',
  'SERVER_LEAVE',
] as const

export type SyncEventType = (typeof SYNC_EVENT_TYPES)[number]

/** An immutable event. Delivered at least once to every live subscriber; `eventId` tells repetitions apart. */
export interface SyncEvent {
  /** UUIDv7. */
  readonly eventId: string
  readonly type: SyncEventType
  /** 'server', 'storage', 'anchor', 'transfer' or a word of the application's. */
  readonly entityType: string
  readonly entityId: string
  /** Server id of the server where it happened. */
  readonly origin: string
  /** Wall time at the origin. */
  readonly timestampMs: number
  /** What the origin had seen when it happened: replica → number. Empty for SERVER_JOIN and SERVER_LEAVE. */
  readonly vectorClock: Readonly<Record<string, number>>
  readonly payload: Uint8Array
}
