/**
 * Where anchors and transfers stand in the strong store. What a registry answers is looked up under one of these
 * prefixes; nothing is ever found by reading everything.
 *
 *     registry/anchor/<id>                       the anchor
 *     registry/transfer/<id>                     the transfer
 *     registry/deletion                          who deleted last, and when; put together with each deletion
 *     anchor-at/<world>/<x>,<y>,<z>              id of the anchor there: one for each position
 *     anchor-in/<storage>/<id>                   anchors that open the storage
 *     anchor-links/<anchor>                      put whenever a transfer at this anchor comes or goes
 *     transfer-at/<anchor>/<id>                  transfers from or to the anchor
 *     transfer-owner/<id>                        server that runs the transfer, under that server's lease
 *
 * Both kinds of entities lie under one prefix so that one watch sees them in the order in which they happened.
 */
export const ENTITY_PREFIX = 'registry/'
export const ANCHOR_PREFIX = `${ENTITY_PREFIX}anchor/`
export const TRANSFER_PREFIX = `${ENTITY_PREFIX}transfer/`
export const DELETION_KEY = `${ENTITY_PREFIX}deletion`
export const OWNER_PREFIX = 'transfer-owner/'

export interface Position {
  readonly x: number
  readonly y: number
  readonly z: number
}

/** Makes any text one part of a key: no `/` is left in it, and no two texts give the same part. */
export function keySegment(text: string): string {
  return text.replace(/[%/]/g, (character) => (character === '%' ? '%25' : '%2F'))
}

export function anchorKey(id: string): string {
  return ANCHOR_PREFIX + id
}

export function transferKey(id: string): string {
  return TRANSFER_PREFIX + id
}

export function ownerKey(transfer: string): string {
  return OWNER_PREFIX + transfer
}

export function worldPrefix(world: string): string {
  return `anchor-at/${keySegment(world)}/`
}

export function positionKey(world: string, { x, y, z }: Position): string {
  return `${worldPrefix(world)}${x},${y},${z}`
}

export function storagePrefix(storage: string): string {
  return `anchor-in/${keySegment(storage)}/`
}

export function storageKey(storage: string, id: string): string {
  return storagePrefix(storage) + id
}

export function linksKey(anchor: string): string {
  return `anchor-links/${anchor}`
}

export function transfersAtPrefix(anchor: string): string {
  return `transfer-at/${anchor}/`
}

export function transferAtKey(anchor: string, id: string): string {
  return transfersAtPrefix(anchor) + id
}

/** What follows the last `/`. */
export function lastSegment(key: string): string {
  return key.slice(key.lastIndexOf('/') + 1)
}
