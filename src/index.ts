export type { AuditOutcome, ComparisonOutcome } from './audit/report.js'
export {
  type ConflictContext,
  type ConflictResolver,
  earlierTimeResolver,
  lowerIdResolver,
  manualResolver,
  serverPriorityResolver,
} from './conflict/resolver.js'
export type { LedgerEntry, LedgerGap, LedgerLine } from './ledger/entry.js'
export type { LedgerOptions } from './ledger/query.js'
export type { AuditEntry } from './node/audit.js'
export type { Durability, LedgerConfigOptions, MeshNodeOptions } from './node/config.js'
export type { ReadOptions } from './node/fresh-reads.js'
export type { ReachOptions } from './node/levels.js'
export type { MeshAudit, ReplicaPlace, ServerAudit, ServerBooks, StateDifference } from './node/mesh-audit.js'
export type { AuditProgress, MeshAuditOptions } from './node/mesh-auditor.js'
export { MeshNode, type StateOptions } from './node/mesh-node.js'
export type { NodeEvents } from './node/node-events.js'
export type { PublishOptions } from './node/publications.js'
export type { Receipt } from './node/receipt.js'
export type { MemberStatus, NodeStatus, PartitionStatus, RaftPeerView, RaftView } from './node/status.js'
export type { Storage } from './node/storage.js'
export type { ItemQuantity, QuantityChange } from './node/storage-host.js'
export type { TransferProgress } from './node/transfer-runner.js'
export type { OperationOptions, WithdrawOptions } from './node/withdraw-options.js'
export type { Withdrawal, WithdrawalCase } from './node/withdrawal.js'
export type { Anchor } from './registry/anchor.js'
export type { Anchors } from './registry/anchors.js'
export type { Transfer } from './registry/transfer.js'
export type { OwnedTransfer } from './registry/transfer-ownership.js'
export type { Transfers } from './registry/transfers.js'
export type { Lock, LockOptions } from './strong/locks.js'
export type { StrongOptions } from './strong/strong-store.js'
export type { ConsistencyLevel, ReadLevel } from './sync/consistency.js'
export {
  AbortedError,
  AddressInUseError,
  ConfigError,
  ConflictError,
  ControlProtocolError,
  DialError,
  DirectoryInUseError,
  DiskError,
  DiskFullError,
  FileNotFoundError,
  FrameError,
  GapError,
  InsufficientQuantityError,
  InsufficientRightsError,
  InvalidArgumentError,
  InvariantViolation,
  JournalDamagedError,
  JournalFailedError,
  JournalFormatError,
  LevelNotReachedError,
  LinkRefusedError,
  LockLostError,
  LockReentryError,
  LockTimeoutError,
  NoNodeError,
  NoQuorumError,
  NotFoundError,
  NotRunningError,
  OutcomeUnknownError,
  OverloadedError,
  ReadLevelNotReachedError,
  type RefusalReason,
  RefusedError,
  RevisionCompactedError,
  SiloMeshError,
  UnknownMethodError,
  UsageError,
} from './sync/errors.js'
export type { SyncEvent, SyncEventType } from './sync/event.js'
export type { ReplicaId, ServerIdentity } from './sync/identity.js'
export { type ItemCompound, ItemDouble, type ItemValue } from './sync/item-components.js'
export { canonicalItemKey, type ItemKey, parseItemKey } from './sync/item-key.js'
export type { Logger } from './sync/logger.js'
