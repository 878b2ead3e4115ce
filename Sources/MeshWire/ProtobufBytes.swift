package import FoundationEssentials

extension [UInt8] {
    /// As protobuf's generated code wants bytes. The one place where pure code meets `Data`.
    package var protobuf: Data { Data(self) }
}
