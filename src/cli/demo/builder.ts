import type { Environment } from '../../environment/environment.js'
import { readTextFile } from '../../environment/text-file.js'
import { uuidV7 } from '../../environment/uuid.js'
import type { MeshNode } from '../../node/mesh-node.js'
import { SeededRandom } from '../../simulation/kernel/random.js'
import { SiloMeshError } from '../../sync/errors.js'
import { CARGOES, chestOf } from './chests.js'
import { stackSizeOf } from './loot.js'
import type { StartParams } from './messages.js'
import type { PlannedOperation } from './players.js'
import { parseStructureLog, type StructureKind, StructureLog } from './structure-log.js'

const MAX_LOG_BYTES = 64 * 1024 * 1024
/** Between two strong operations of one server. */
const PAUSE_MS = 120
/** Shorter than an election on a busy machine: the demo shall see refusals and unknown outcomes, too. */
const STRONG_TIMEOUT_MS = 2_000
/** How often an unknown outcome is asked for again, under the same id. */
const MAX_TRIES = 3
/** A stack takes about two seconds, so that a kill comes in the middle of many of them. */
const ITEMS_PER_SECOND = 32

/** Does operations on items, written down before and after. */
export type Perform = (operations: readonly PlannedOperation[]) => Promise<void>

interface Place {
  readonly anchor: string
  readonly chest: string
}

/**
 * The builders of one server: one after the other they place anchors, put a stack of something into the chest of one
 * and link it with another by a transfer, which then moves the stack.
 */
export class Builder {
  private building: Promise<void> | undefined
  private isResting = true

  private constructor(
    private readonly environment: Environment,
    private readonly node: MeshNode,
    private readonly log: StructureLog,
    private readonly perform: Perform,
    private readonly random: SeededRandom,
    private placed: number,
    /** Of this server, known to exist; a transfer goes from the last but one to the last. */
    private readonly places: Place[],
  ) {}

  /** Goes on from the log that a killed process left. */
  static async open(
    environment: Environment,
    node: MeshNode,
    params: StartParams,
    perform: Perform,
  ): Promise<Builder> {
    const { disk } = environment
    const { serverId, seed } = params
    const text = (await readTextFile(disk, params.structureLog, MAX_LOG_BYTES)) ?? ''
    const asked = parseStructureLog(text).filter(({ kind }) => kind === 'anchor')
    const existing = asked.flatMap(({ id, outcome }, index) =>
      outcome === 'acknowledged' ? [{ anchor: id, chest: chestOf(serverId, index + 1) }] : [],
    )
    const log = await StructureLog.open(disk, params.structureLog)
    const random = new SeededRandom(seed).fork(serverId).fork('builder').fork(asked.length)
    return new Builder(environment, node, log, perform, random, asked.length, existing)
  }

  build(): void {
    if (!this.isResting) return
    this.isResting = false
    this.building = this.run()
    // Its failure is told by `rest`, which comes in any case.
    this.building.catch(() => undefined)
  }

  async rest(): Promise<void> {
    this.isResting = true
    await this.building
  }

  private async run(): Promise<void> {
    for (let turn = 0; !this.isResting; turn++) {
      if (turn % 3 === 2 && this.places.length >= 2) await this.link()
      else await this.place()
      await new Promise<void>((resolve) => this.environment.scheduler.after(PAUSE_MS, resolve))
    }
  }

  private async place(): Promise<void> {
    const { serverId } = this.node.identity
    const number = ++this.placed
    const id = uuidV7(this.environment)
    const storage = chestOf(serverId, number)
    const anchor = { id, storage, world: serverId, position: { x: number, y: 64, z: 0 } }
    const exists = await this.attempt('anchor', id, () =>
      this.node.anchors.create(anchor, { timeoutMs: STRONG_TIMEOUT_MS }),
    )
    if (exists) this.places.push({ anchor: id, chest: storage })
  }

  private async link(): Promise<void> {
    const [from, to] = this.places.slice(-2)
    const item = this.random.pick(CARGOES)
    // Whether or not the transfer comes to be: without it the stack stays.
    await this.perform([{ kind: 'deposit', storage: from!.chest, item, amount: stackSizeOf(item) }])
    const id = uuidV7(this.environment)
    const transfer = { id, from: from!.anchor, to: to!.anchor, items: [item], rate: ITEMS_PER_SECOND }
    await this.attempt('transfer', id, () =>
      this.node.transfers.create(transfer, { timeoutMs: STRONG_TIMEOUT_MS }),
    )
  }

  /** Returns whether it exists for certain. */
  private async attempt(kind: StructureKind, id: string, create: () => Promise<unknown>): Promise<boolean> {
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      await this.log.intend(kind, id)
      try {
        await create()
        await this.log.acknowledge(kind, id)
        return true
      } catch (error) {
        if (!(error instanceof SiloMeshError)) throw error
        if (error.indeterminate) continue
        // Certain for this try only: an earlier one of unknown outcome may have made it, or may yet.
        if (tries === 0) await this.log.refuse(kind, id, error.code)
        return false
      }
    }
    return false
  }
}
