import { createRealEnvironment } from '../../environment/real-environment.js'
import type { AuditEntry } from '../../node/audit.js'
import { MeshNode } from '../../node/mesh-node.js'
import { processContext } from '../context.js'
import { createLogger } from '../logs.js'
import type { AuditRow } from './audit-verdict.js'
import { Builder } from './builder.js'
import { Game } from './game.js'
import type { Call, FromServer, MethodName, Methods, ServerState, StartParams } from './messages.js'
import { itemKey } from './verdict.js'

/** A process of its own that the demo forks: a game server with an embedded node. Told what to do over IPC. */
const environment = createRealEnvironment()
const PROGRESS_INTERVAL_MS = 100

let running: { readonly node: MeshNode; readonly game: Game; readonly builder: Builder } | undefined

type Handlers = {
  readonly [Name in MethodName]: (params: Methods[Name]['params']) => Promise<Methods[Name]['result']>
}

const handlers: Handlers = {
  start: async (params) => {
    const node = await startNode(params)
    const game = await Game.open(environment, node, params)
    const builder = await Builder.open(environment, node, params, (operations) => game.perform(operations))
    running = { node, game, builder }
    reportProgress()
    return { address: node.address }
  },
  play: async () => {
    const { game, builder } = required()
    game.play()
    builder.build()
  },
  rest: async () => {
    const { node, game, builder } = required()
    await Promise.all([game.rest(), builder.rest()])
    await node.flush()
  },
  restBuilders: async () => required().builder.rest(),
  cut: async (servers) => required().node.setCut(servers),
  state: async () => describeState(required().node),
  quantities: async () => {
    const { node } = required()
    // No turn of the event loop in between: nothing changes.
    const state = describeState(node)
    const rows = node
      .storageIds()
      .flatMap(({ id }) =>
        [...node.storage(id).items()].map(({ item, quantity }) => [id, item, quantity.toString()] as const),
      )
    // What was visible and had no number yet gets one now, and shows as another state.
    await node.flush()
    return { state, isWhole: describeState(node).fingerprint === state.fingerprint, rows }
  },
  unsettled: async () => {
    let items = 0
    for await (const { provisional } of required().node.audit()) if (provisional !== 0n) items += 1
    return items
  },
  conclude: async () => {
    const { game, node } = required()
    await game.conclude()
    await node.flush()
  },
  audit: async () => {
    const rows: AuditRow[] = []
    for await (const entry of required().node.audit()) rows.push(auditRow(entry))
    return rows.sort(byKey)
  },
  structure: async () => {
    const { anchors, transfers } = required().node
    return { anchors: await everyId(anchors), transfers: await everyId(transfers) }
  },
  busyTransfers: async () => {
    const { node } = required()
    const runs = (await everyId(node.transfers)).map((id) => node.transferRun(id))
    return runs.filter(
      ({ owner, progress }) => owner === undefined || (progress && progress.state !== 'idle'),
    ).length
  },
  stop: async () => required().node.stop(),
}

function startNode({ clusterId, serverId, secret, dataDir, peers, found }: StartParams): Promise<MeshNode> {
  return MeshNode.start({
    clusterId,
    serverId,
    secret: Uint8Array.from(Buffer.from(secret, 'hex')),
    dataDir,
    listen: { host: '127.0.0.1', port: 0 },
    peers,
    found,
    environment,
    logger: createLogger(processContext(), 'error', 'text'),
  })
}

function describeState(node: MeshNode): ServerState {
  const { numberingHeld, partitions } = node.status()
  const raft = node.raft()
  const facts = partitions.map(({ partition, versionVector, checksum }) => {
    const rows = Object.entries(versionVector).sort(([left], [right]) => (left < right ? -1 : 1))
    return [partition, checksum, rows]
  })
  return {
    linked: node.members().flatMap(({ linked, serverId }) => (linked ? [serverId] : [])),
    numberingHeld,
    settled: partitions.every(({ settled }) => settled),
    fingerprint: JSON.stringify(facts),
    leader: raft?.leader,
    term: raft?.term ?? 0,
    voters: raft?.peers.flatMap(({ voter, serverId }) => (voter ? [serverId] : [])) ?? [],
  }
}

function auditRow(entry: AuditEntry): AuditRow {
  const { storage, item, deposited, withdrawn, compensated, provisional, rightsSum, quantity } = entry
  const [d, w, c, p, r, q] = [deposited, withdrawn, compensated, provisional, rightsSum, quantity].map(String)
  return [itemKey(storage, item), d!, w!, c!, p!, r!, q!]
}

function byKey([left]: AuditRow, [right]: AuditRow): number {
  return left < right ? -1 : 1
}

async function everyId(registry: MeshNode['anchors'] | MeshNode['transfers']): Promise<string[]> {
  const ids: string[] = []
  let after: string | undefined
  do {
    const page = await registry.list(after === undefined ? {} : { after })
    ids.push(...page.entries.map(({ id }) => id))
    after = page.next
  } while (after !== undefined)
  return ids
}

function required(): NonNullable<typeof running> {
  if (!running) throw new Error('the node has not been started')
  return running
}

function reportProgress(): void {
  const { game, node } = required()
  const { operations, acknowledged } = game
  const { leader: serverId, term } = node.raft() ?? {}
  const leader = serverId !== undefined && term !== undefined ? { term, serverId } : undefined
  say({ progress: { operations, acknowledged, ...(leader && { leader }) } })
  environment.scheduler.after(PROGRESS_INTERVAL_MS, reportProgress)
}

function say(message: FromServer): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

process.on('message', ({ id, method, params }: Call) => {
  const handler = handlers[method] as (params: unknown) => Promise<unknown>
  handler(params).then(
    (result) => say({ id, result: result ?? null }),
    (error: unknown) =>
      say({ id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) }),
  )
})
// Without its orchestrator it has no business; Ctrl-C reaches both, and the orchestrator decides.
process.on('disconnect', () => process.exit())
process.on('SIGINT', () => undefined)
