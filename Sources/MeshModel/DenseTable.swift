/// Values by key in one dense array: finding, adding and removing one costs the same for ten and for twenty thousand.
/// A removal puts the last value into the hole. So the order means nothing, but it follows from what was done and not
/// from hash values, and pure code may iterate. Other modules get it for their own types: through tables of a generic one
/// each look-up would cost as much as several.
@usableFromInline
package struct DenseTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    @usableFromInline var places: [Key: Int] = [:]
    @usableFromInline package internal(set) var keys: [Key] = []
    @usableFromInline package internal(set) var values: [Value] = []

    @inlinable package init() {}

    @inlinable package var count: Int { keys.count }
    @inlinable package var isEmpty: Bool { keys.isEmpty }

    @inlinable package subscript(key: Key) -> Value? { places[key].map { values[$0] } }

    @inlinable package func contains(_ key: Key) -> Bool { places[key] != nil }

    @inlinable
    package mutating func set(_ value: consuming Value, for key: Key) {
        if let place = places[key] {
            values[place] = value
        } else {
            places[key] = keys.count
            keys.append(key)
            values.append(value)
        }
    }

    /// Changes the value where it stands, without a copy of what it holds; an absent one starts as `initial`.
    @inlinable
    package mutating func update<Outcome>(
        _ key: Key, from initial: @autoclosure () -> Value, _ change: (inout Value) -> Outcome
    ) -> Outcome {
        if places[key] == nil { set(initial(), for: key) }
        guard let place = places[key] else { preconditionFailure("a key that was just added is missing") }
        return change(&values[place])
    }

    /// Changes the value where it stands; nil when there is none.
    @discardableResult
    @inlinable
    package mutating func update<Outcome>(_ key: Key, _ change: (inout Value) -> Outcome) -> Outcome? {
        places[key].map { change(&values[$0]) }
    }

    @discardableResult
    @inlinable
    package mutating func remove(_ key: Key) -> Value? {
        guard let place = places.removeValue(forKey: key) else { return nil }
        let last = keys.count - 1
        if place != last {
            keys.swapAt(place, last)
            // Moved: a copy counts a reference for each part of a value.
            values.withUnsafeMutableBufferPointer { values in
                guard let base = values.baseAddress else { return }
                let value = (base + place).move()
                (base + place).moveInitialize(from: base + last, count: 1)
                (base + last).initialize(to: value)
            }
            places[keys[place]] = place
        }
        keys.removeLast()
        return values.removeLast()
    }

    /// Changes every value.
    @inlinable
    package mutating func updateAll(_ change: (inout Value) -> Void) {
        for place in values.indices { change(&values[place]) }
    }
}
