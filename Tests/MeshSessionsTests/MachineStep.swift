/// What happens to a machine, when, and what it does then, in words.
struct MachineStep<Event: Sendable>: Sendable {
    var at: Int64
    var event: Event
    var done: [String]

    init(_ at: Int64, _ event: Event, _ done: String...) {
        self.at = at
        self.event = event
        self.done = done
    }
}
