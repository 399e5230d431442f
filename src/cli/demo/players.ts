import { SeededRandom } from '../../simulation/kernel/random.js'
import { isChest } from './chests.js'
import { BLOCKS, ENTITIES, type LootSource, stackSizeOf } from './loot.js'

export type OperationKind = 'deposit' | 'withdraw'

export interface PlannedOperation {
  readonly kind: OperationKind
  readonly storage: string
  readonly item: string
  readonly amount: number
}

/** Where miners and hunters bring what dropped. */
export const QUARRY = 'quarry'
export const LARDER = 'larder'
/** Rare things that everybody brings now and then, and that everybody takes, whoever brought them. */
export const HOARD = 'hoard'
const TREASURES = ['diamond', 'netherite_ingot', 'nether_star', 'elytra', 'totem_of_undying', 'beacon'].map(
  (name) => `minecraft:${name}`,
)
const MOST_BROUGHT = 8

/** How many of an item the players of a server see at the moment. */
export type View = (storage: string, item: string) => number

/** What this server may take out with a good conscience: what it is known to have put in and not taken out. */
export class OwnShare {
  private readonly shares = new Map<
    string,
    { readonly storage: string; readonly item: string; amount: number }
  >()
  private readonly order: { readonly storage: string; readonly item: string; amount: number }[] = []

  /** What builders put into chests is nobody's to take: transfers move it on. */
  add(storage: string, item: string, amount: number): void {
    if (isChest(storage)) return
    const key = `${storage}\n${item}`
    let share = this.shares.get(key)
    if (!share) {
      share = { storage, item, amount: 0 }
      this.shares.set(key, share)
      this.order.push(share)
    }
    share.amount += amount
  }

  /** A share that holds something, or undefined when a few looks found none. */
  pick(
    random: SeededRandom,
  ): { readonly storage: string; readonly item: string; readonly amount: number } | undefined {
    for (let look = 0; look < 8 && this.order.length > 0; look++) {
      const share = random.pick(this.order)
      if (share.amount > 0) return share
    }
    return undefined
  }
}

/** One thing that a player does in a tick: the operations that come of it. */
type Activity = (random: SeededRandom, share: OwnShare) => PlannedOperation[]

/** Some blocks are everywhere and some are rare, the same ones on every server, so that servers share items. */
class LootTable {
  private readonly commonFirst: readonly LootSource[]

  constructor(sources: readonly LootSource[], seed: number, label: string) {
    this.commonFirst = new SeededRandom(seed).fork(label).shuffle(sources)
  }

  activity(storage: string): Activity {
    return (random) => {
      const source = this.commonFirst[Math.floor(this.commonFirst.length * random.uniform() ** 2)]!
      const dropped = source.drops.filter(({ chance }) => random.chance(chance))
      return dropped.map(({ item, min, max }) => ({
        kind: 'deposit',
        storage,
        item,
        amount: random.integer(min, max),
      }))
    }
  }
}

const takeOwn: Activity = (random, share) => {
  const found = share.pick(random)
  if (!found) return []
  const amount = random.integer(1, Math.min(found.amount, stackSizeOf(found.item)))
  // Taken off the share at once: until the outcome is known, these may be gone.
  share.add(found.storage, found.item, -amount)
  return [{ kind: 'withdraw', storage: found.storage, item: found.item, amount }]
}

const bringTreasure: Activity = (random) => {
  const item = random.pick(TREASURES)
  return [{ kind: 'deposit', storage: HOARD, item, amount: random.integer(1, MOST_BROUGHT) }]
}

/** At least half of what is to be seen, while the players of other servers see the same. */
function grabTreasure(view: View): Activity {
  return (random, share) => {
    const item = random.pick(TREASURES)
    const seen = view(HOARD, item)
    if (seen < 1) return []
    const amount = random.integer(Math.ceil(seen / 2), seen)
    share.add(HOARD, item, -amount)
    return [{ kind: 'withdraw', storage: HOARD, item, amount }]
  }
}

/** The simulated players of one server: seeded, so that one seed is one sequence of wishes. */
export class Players {
  private readonly activities: readonly { readonly weight: number; readonly act: Activity }[]

  constructor(
    private readonly random: SeededRandom,
    private readonly share: OwnShare,
    private readonly players: number,
    seed: number,
    view: View = () => 0,
  ) {
    this.activities = [
      { weight: 5, act: new LootTable(BLOCKS, seed, 'blocks').activity(QUARRY) },
      { weight: 2, act: new LootTable(ENTITIES, seed, 'entities').activity(LARDER) },
      { weight: 3, act: takeOwn },
      { weight: 0.3, act: bringTreasure },
      { weight: 0.3, act: grabTreasure(view) },
    ]
  }

  /** What all players do in one tick of the game. */
  tick(): PlannedOperation[] {
    const operations: PlannedOperation[] = []
    for (let player = 0; player < this.players; player++) {
      operations.push(...this.draw()(this.random, this.share))
    }
    return operations
  }

  private draw(): Activity {
    const total = this.activities.reduce((sum, { weight }) => sum + weight, 0)
    let point = this.random.uniform() * total
    for (const { weight, act } of this.activities) {
      point -= weight
      if (point < 0) return act
    }
    return takeOwn
  }
}
