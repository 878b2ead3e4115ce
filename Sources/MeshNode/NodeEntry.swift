internal import Foundation

package struct NodeSummary: Sendable {
    package var nodeID: String
    package var operatorID: String
    package var adminKey: String?

    package init(nodeID: String, operatorID: String, adminKey: String?) {
        self.nodeID = nodeID
        self.operatorID = operatorID
        self.adminKey = adminKey
    }
}

package enum NodeEntry {
    package static func initialise(_ configuration: NodeConfiguration) throws -> NodeSummary {
        throw CocoaError(.featureUnsupported)
    }

    package static func run(_ configuration: NodeConfiguration) async throws {
        throw CocoaError(.featureUnsupported)
    }
}
